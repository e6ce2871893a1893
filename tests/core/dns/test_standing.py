"""When a region is fit to get users, and how it comes back."""

from dataclasses import replace

import pytest

from leeward.core.dns.standing import Standing, follow, judge, shares
from leeward.core.values import Region, Vantage
from leeward.core.view import View
from tests.core.views import AP, DOWN, EU, REGIONS, TIMERS, UP, US, report, seen, view

NOW_S = 100.0


def looked(me: Region = EU, *, leased: bool = True, pods: int = 2, **seen_by: dict[Region, Vantage]) -> View:
    """What ``me`` knows; ``seen_by`` is what each region, itself included, sees of the others."""
    heard = {region: seen(region, NOW_S, vantages=seen_by.get(region, {})) for region in REGIONS}
    return replace(
        view(me),
        now_s=NOW_S,
        seen=heard,
        vantages={**dict.fromkeys(REGIONS, UP), **seen_by.get(me, {})},
        lease_until_s=NOW_S + 1 if leased else 0.0,
        pods_ready=pods,
    )


@pytest.mark.parametrize(
    ("known", "region", "fit", "because"),
    [
        pytest.param(looked(), US, True, "us serves", id="all is well"),
        pytest.param(looked(eu={US: DOWN}), US, True, "us serves", id="only we cannot see it"),
        pytest.param(
            looked(eu={US: DOWN}, ap={US: DOWN}), US, False, "ap, eu cannot see us serving", id="nobody sees it"
        ),
        pytest.param(looked(eu={US: UP}, ap={US: DOWN}), US, True, "us serves", id="we see it"),
        pytest.param(
            looked(leased=False), EU, False, "eu has no lease: it cannot reach the quorum", id="we are cut off"
        ),
        pytest.param(looked(pods=0), EU, False, "no pod of payments is ready in eu", id="none of our pods is ready"),
        pytest.param(looked(leased=False, eu={US: DOWN}), US, False, "no answer", id="cut off: our own eyes"),
        pytest.param(looked(leased=False, ap={US: DOWN}), US, True, "us serves", id="cut off: others' words are old"),
    ],
)
def test_judge(known: View, region: Region, fit: bool, because: str) -> None:
    assert judge(known, region) == (fit, because)


def test_a_region_without_ready_pods_is_out() -> None:
    heard = {**looked().seen, US: seen(US, NOW_S, report_=report(pods_ready=0))}
    assert judge(replace(looked(), seen=heard), US) == (False, "no pod of payments is ready in us")


def test_a_region_whose_gateway_does_not_answer_users_is_out() -> None:
    us = looked().seen[US]
    heard = {**looked().seen, US: replace(us, heartbeat=replace(us.heartbeat, gateway_problem="drained"))}
    because = "the gateway of us does not answer users: drained"
    assert judge(replace(looked(), seen=heard), US) == (False, because)
    assert judge(replace(looked(), seen=heard), AP) == (True, "ap serves")
    own = replace(looked(), own_gateway_problem="drained")
    assert judge(own, EU) == (False, "the gateway of eu does not answer users: drained")


def test_a_region_not_seen_yet_is_not_named_and_does_not_count_as_lost_later() -> None:
    for known in (replace(looked(), seen={}), replace(looked(), vantages={})):
        assert judge(known, US) == (False, "eu has not seen us yet")
    standing = follow(follow(None, False, "eu has not seen us yet", 0), True, "us serves", 1)
    assert not standing.returning


def test_silent_regions_do_not_count_against_others() -> None:
    heard = {**looked().seen, AP: seen(AP, NOW_S - TIMERS.lease_s, vantages={US: DOWN})}
    assert judge(replace(looked(eu={US: DOWN}), seen=heard), US)[0]


def after(*looks: tuple[float, bool]) -> Standing:
    standing = None
    for at_s, fit in looks:
        standing = follow(standing, fit, "", at_s)
    assert standing is not None
    return standing


BACK_S = 20.0
HELD_S = BACK_S + TIMERS.hold_down_s
FULL_S = HELD_S + TIMERS.ramp_s


@pytest.mark.parametrize(
    ("looks", "now_s", "share"),
    [
        pytest.param([(0, True)], 0, 1.0, id="at first sight"),
        pytest.param([(0, False), (1, True)], 1, 1.0, id="it has just started: nobody waits"),
        pytest.param([(0, True), (10, False)], 10, 0.0, id="out at once"),
        pytest.param([(0, True), (10, False), (BACK_S, True)], HELD_S - 0.1, 0.0, id="held down"),
        pytest.param([(0, True), (10, False), (BACK_S, True)], HELD_S + TIMERS.ramp_s / 2, 0.5, id="half way"),
        pytest.param([(0, True), (10, False), (BACK_S, True)], FULL_S, 1.0, id="back"),
        pytest.param([(0, True), (10, False), (15, True), (18, False), (BACK_S, True)], HELD_S, 0.0, id="it flaps"),
    ],
)
def test_a_region_leaves_at_once_and_comes_back_slowly(
    looks: list[tuple[float, bool]], now_s: float, share: float
) -> None:
    found = shares({US: after(*looks), EU: after((0, True))}, now_s, TIMERS)
    assert found[US] == pytest.approx(share)
    assert found[EU] == 1.0


def test_all_that_come_back_together_do_not_wait() -> None:
    back = after((0, True), (10, False), (BACK_S, True))
    lost = after((0, True), (10, False))
    for now_s in (BACK_S, HELD_S + 1, FULL_S):
        assert shares({US: back, EU: back, AP: lost}, now_s, TIMERS) == {US: 1.0, EU: 1.0, AP: 0.0}


def test_none_is_fit() -> None:
    lost = after((0, True), (10, False))
    assert shares({US: lost, EU: lost}, 11, TIMERS) == {US: 0.0, EU: 0.0}
