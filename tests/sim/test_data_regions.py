"""Data regions that come and go amid writes: each change ends, nothing acknowledged is lost, one region is enough."""

from dataclasses import replace

import pytest

from leeward.core.values import Region, ReplicationMode, Role
from leeward.sim.faults import Fault, Kind
from leeward.sim.fleet import three
from leeward.sim.plan import FOUND_S, Plan
from leeward.sim.swarm import Lived, live_through

US, EU, AP = Region("us"), Region("eu"), Region("ap")


def lived(mode: ReplicationMode, spares: frozenset[Region], *faults: Fault) -> tuple[Lived, list[str]]:
    lines = list[str]()
    plan = Plan(1, replace(three(mode), spares=spares), faults, (), 40.0)
    seen = live_through(plan, trace=lines.append)
    assert seen.outcome.violation is None
    return seen, [line[28:] for line in lines]


@pytest.mark.parametrize("mode", list(ReplicationMode))
def test_a_region_joins_and_another_one_leaves(mode: ReplicationMode) -> None:
    seen, lines = lived(
        mode,
        frozenset((AP,)),
        Fault(FOUND_S + 2.0, Kind.DATA_REGIONS, AP),
        Fault(FOUND_S + 20.0, Kind.DATA_REGIONS, EU),
    )
    found = seen.simulation.topology
    assert found is not None
    assert (found.data_regions, found.acks_required) == ((US, AP), 0 if mode is ReplicationMode.ASYNC else 1)
    steps = (
        "ap becomes a data region",
        "ap has caught up",
        "ap is a data region",
        "eu leaves",
        "eu is no longer a data region",
    )
    places = [next(place for place, line in enumerate(lines) if line.startswith(step)) for step in steps]
    assert places == sorted(places)
    assert seen.simulation.sites[EU].instances[found.app].postgres.role is Role.STOPPED


def test_the_primary_is_moved_out_of_a_region_that_leaves_and_loses_nothing() -> None:
    seen, _ = lived(ReplicationMode.ASYNC, frozenset(), Fault(FOUND_S + 2.0, Kind.DATA_REGIONS, US))
    found = seen.simulation.topology
    assert found is not None
    assert (found.primary, found.data_regions) == (EU, (EU, AP))
    assert seen.outcome.lost == 0


@pytest.mark.parametrize("mode", [ReplicationMode.SYNC, ReplicationMode.QUORUM])
def test_one_data_region_acknowledges_alone_and_a_second_one_may_join(mode: ReplicationMode) -> None:
    alone, _ = lived(mode, frozenset((EU, AP)))
    assert alone.outcome.acknowledged > 0
    joined, _ = lived(mode, frozenset((EU, AP)), Fault(FOUND_S + 2.0, Kind.DATA_REGIONS, AP))
    found = joined.simulation.topology
    assert found is not None
    assert (found.data_regions, found.acks_required) == ((US, AP), 1)


def test_a_primary_lost_in_the_middle_of_a_change_is_replaced_and_the_change_ends() -> None:
    seen, lines = lived(
        ReplicationMode.QUORUM,
        frozenset((AP,)),
        Fault(FOUND_S + 2.0, Kind.DATA_REGIONS, AP),
        Fault(FOUND_S + 5.5, Kind.REGION_LOSS, US, None, 10.0),
    )
    found = seen.simulation.topology
    assert found is not None
    assert found.data_regions == (US, EU, AP)
    assert any(line.startswith("us was last heard") for line in lines)


def test_a_lost_region_can_be_removed() -> None:
    seen, lines = lived(
        ReplicationMode.SYNC,
        frozenset(),
        Fault(FOUND_S + 1.0, Kind.REGION_LOSS, AP, None, 35.0),
        Fault(FOUND_S + 5.0, Kind.DATA_REGIONS, AP),
    )
    left = next(place for place, line in enumerate(lines) if line.startswith("ap is no longer a data region"))
    back = next(place for place, line in enumerate(lines) if line == "over: region-loss ap")
    assert left < back
    assert seen.outcome.violation is None


@pytest.mark.parametrize("mode", [ReplicationMode.SYNC, ReplicationMode.QUORUM])
@pytest.mark.parametrize("after_s", [0.5, 3.0])
def test_a_store_that_forgets_the_beginning_of_a_change_waits_for_no_region_without_data(
    mode: ReplicationMode, after_s: float
) -> None:
    joining = Fault(FOUND_S + 2.0, Kind.DATA_REGIONS, AP)
    forgets = Fault(joining.at_s + after_s, Kind.AMNESIA, US, amount=after_s + 0.5)
    seen, _ = lived(mode, frozenset((EU, AP)), joining, forgets)
    found = seen.simulation.topology
    assert found is not None
    assert (found.primary, set(found.data_regions)) == (US, {US, AP})


def test_a_store_lost_while_two_regions_are_to_leave_loses_no_write() -> None:
    """The files name one region; the set in force is three, and the standby that is to stay may lack a write."""
    behind = Fault(FOUND_S + 18.0, Kind.SLOW_REPLICA, EU, None, 12.0, 1.0)
    leave = Fault(FOUND_S + 20.0, Kind.DATA_REGIONS, US), Fault(FOUND_S + 23.0, Kind.DATA_REGIONS, AP)
    wiped = Fault(FOUND_S + 26.0, Kind.STORE_WIPE, EU)
    seen, _ = lived(ReplicationMode.QUORUM, frozenset(), behind, *leave, wiped)
    found = seen.simulation.topology
    assert found is not None
    assert (found.primary, found.data_regions) == (EU, (EU,))
