"""Where users go who cannot be served where they are, and their writes."""

from dataclasses import replace

import pytest

from leeward.core import routing
from leeward.core.routing import Health
from leeward.core.values import Region, Role
from tests.core.views import AP, EU, LEASE_S, REGIONS, US, electing, report, seen, status, topology, view

WELL, OUT = Health(True, 0.0), Health(False, 99.0, 2)


@pytest.mark.parametrize(
    ("health", "without_pods", "data_regions", "fallbacks"),
    [
        pytest.param({EU: WELL, AP: WELL}, (), REGIONS, (EU, AP), id="the nearest first"),
        pytest.param({EU: OUT, AP: WELL}, (), REGIONS, (AP,), id="nobody is sent to who does not serve"),
        pytest.param({EU: WELL, AP: WELL}, (EU,), REGIONS, (AP,), id="nor to who has no pod"),
        pytest.param({EU: WELL, AP: WELL}, (EU, AP), REGIONS, (EU, AP), id="unless nobody has: the word may be old"),
        pytest.param({EU: WELL, AP: WELL}, (), (US, AP), (AP,), id="a witness has nothing to serve with"),
        pytest.param({EU: OUT, AP: OUT}, (), REGIONS, (EU, AP), id="hardly anybody looks well: the view is suspect"),
    ],
)
def test_where_users_go(
    health: dict[Region, Health],
    without_pods: tuple[Region, ...],
    data_regions: tuple[Region, ...],
    fallbacks: tuple[Region, ...],
) -> None:
    heard = {r: seen(r, 100, report_=report(pods_ready=0 if r in without_pods else 2)) for r in (EU, AP)}
    given = view(US, topology=topology(data_regions=data_regions), seen=heard)
    assert routing.fallbacks(given, (EU, AP), health) == fallbacks


@pytest.mark.parametrize(
    ("health", "unheard", "fallbacks"),
    [
        pytest.param({EU: OUT, AP: OUT}, (EU,), (AP,), id="of suspects, who is still heard"),
        pytest.param({EU: WELL, AP: WELL}, (EU,), (AP,), id="the probe of a region that has just died is old"),
        pytest.param({EU: OUT, AP: OUT}, (EU, AP), (EU, AP), id="cut off, nobody is heard: all may be well"),
    ],
)
def test_a_region_that_is_not_heard_is_left_out_while_another_is(
    health: dict[Region, Health], unheard: tuple[Region, ...], fallbacks: tuple[Region, ...]
) -> None:
    heard = {r: seen(r, 100 - 2 * LEASE_S if r in unheard else 100) for r in (EU, AP)}
    given = view(US, topology=topology(data_regions=REGIONS), seen=heard)
    assert routing.fallbacks(given, (EU, AP), health) == fallbacks


@pytest.mark.parametrize(
    ("drained", "fallbacks"),
    [
        pytest.param((EU,), (AP,), id="what does not answer its own users gets none of ours"),
        pytest.param((EU, AP), (EU, AP), id="unless no region does"),
    ],
)
def test_a_region_whose_gateway_does_not_answer_is_left_out_while_another_does(
    drained: tuple[Region, ...], fallbacks: tuple[Region, ...]
) -> None:
    heard = {r: seen(r, 100) for r in (EU, AP)}
    for r in drained:
        heard[r] = replace(heard[r], heartbeat=replace(heard[r].heartbeat, gateway_problem="drained"))
    given = view(US, topology=topology(data_regions=REGIONS), seen=heard)
    assert routing.fallbacks(given, (EU, AP), {EU: WELL, AP: WELL}) == fallbacks


@pytest.mark.parametrize(
    ("me", "primary", "without_pods", "expected"),
    [
        pytest.param(EU, US, (), None, id="the primary's own take them"),
        pytest.param(EU, US, (US,), EU, id="none there: ours"),
        pytest.param(EU, US, (US, EU), AP, id="none here either: the nearest that has"),
        pytest.param(EU, US, REGIONS, None, id="nobody has"),
        pytest.param(EU, EU, (EU,), US, id="none beside our own primary"),
        pytest.param(EU, None, (US,), None, id="no primary: nothing to write to"),
    ],
)
def test_whose_pods_take_the_writes(
    me: Region, primary: Region | None, without_pods: tuple[Region, ...], expected: Region | None
) -> None:
    def ready(region: Region) -> int:
        return 0 if region in without_pods else 2

    heard = {r: seen(r, 100, report_=report(pods_ready=ready(r))) for r in REGIONS if r != me}
    given = view(
        me,
        topology=electing() if primary is None else topology(primary=primary),
        seen=heard,
        pods_ready=ready(me),
        instance=status(Role.PRIMARY),
        writes_until_s=101.0,
    )
    fit = tuple(region for region in (US, AP) if region != me)
    assert routing.stand_in(given, fit) == expected
