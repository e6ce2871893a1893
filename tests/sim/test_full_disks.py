"""A volume without room: its primary is replaced, its standby is not elected, and both come back with room."""

import pytest

from leeward.core.values import Region, ReplicationMode
from leeward.sim.faults import Fault, Kind
from leeward.sim.fleet import three
from leeward.sim.plan import FOUND_S, Plan
from leeward.sim.swarm import Lived, live_through

US, EU, AP = Region("us"), Region("eu"), Region("ap")
FULL_S = 15.0


def lived(mode: ReplicationMode, *faults: Fault) -> Lived:
    seen = live_through(Plan(1, three(mode), faults, (), 40.0))
    assert seen.outcome.violation is None
    return seen


@pytest.mark.parametrize("mode", list(ReplicationMode))
def test_a_primary_that_ends_for_lack_of_room_is_replaced(mode: ReplicationMode) -> None:
    found = lived(mode, Fault(FOUND_S + 2.0, Kind.FULL_DISK, US, None, FULL_S)).simulation.topology
    assert found is not None
    assert (found.primary, found.epoch) == (EU, 2)


@pytest.mark.parametrize("mode", list(ReplicationMode))
def test_a_primary_that_still_commits_stays(mode: ReplicationMode) -> None:
    found = lived(mode, Fault(FOUND_S + 2.0, Kind.FULL_DISK, US, None, FULL_S, 1.0)).simulation.topology
    assert found is not None
    assert (found.primary, found.epoch) == (US, 1)


def test_a_standby_that_can_keep_no_order_is_not_elected() -> None:
    full = Fault(FOUND_S + 2.0, Kind.FULL_DISK, EU, None, FULL_S, 1.0)
    found = lived(ReplicationMode.ASYNC, full, Fault(FOUND_S + 3.0, Kind.REGION_LOSS, US, None, 20.0))
    topology = found.simulation.topology
    assert topology is not None
    assert topology.primary == AP
