"""What a long objective pays for: a machine that stands still for less than that is waited for, and writes on."""

from dataclasses import replace

import pytest

from leeward.core.values import FailoverPolicy, Region, ReplicationMode, Tally
from leeward.sim.faults import Fault, Kind
from leeward.sim.fleet import Fleet, three
from leeward.sim.plan import FOUND_S, Plan
from leeward.sim.swarm import Lived, live_through

US = Region("us")
AT_S = FOUND_S + 2.0
SEEDS = range(3)

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(300)]


def lived(fleet: Fleet, seed: int, *faults: Fault) -> Lived:
    injection_s = max(fault.at_s + fault.for_s for fault in faults) - FOUND_S + 10.0
    seen = live_through(
        Plan(seed=seed, fleet=fleet, faults=faults, triggered=(), injection_s=injection_s, write_every_s=0.1)
    )
    assert seen.outcome.violation is None, seen.outcome.violation
    return seen


def gap_s(seen: Lived, after_s: float) -> float:
    """Return how long, after a moment, it took until a write was acknowledged."""
    later = (each.committed_at_s - after_s for each in seen.simulation.acknowledgements)
    return min(each_s for each_s in later if each_s > 0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [Kind.REGION_FREEZE, Kind.MACHINE_PAUSE, Kind.ISOLATION])
@pytest.mark.parametrize("mode", ReplicationMode)
def test_an_rto_of_a_minute_waits_for_20_s_and_writes_go_on(mode: ReplicationMode, kind: Kind, seed: int) -> None:
    fleet = replace(three(mode), rto_s=60.0)
    seen = lived(fleet, seed, Fault(AT_S, kind, US, None, 20.0))
    assert seen.outcome.failovers == 0
    assert seen.outcome.lost == 0
    assert gap_s(seen, AT_S + 20.0) < 10.0
    assert {each.by for each in seen.simulation.acknowledgements} == {US}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mode", ReplicationMode)
def test_a_loss_is_not_waited_for_longer_than_the_objective(mode: ReplicationMode, seed: int) -> None:
    for rto_s in (5.0, 10.0, 60.0):
        seen = lived(replace(three(mode), rto_s=rto_s), seed, Fault(AT_S, Kind.REGION_LOSS, US, None, 50.0))
        assert seen.outcome.failovers == 1
        assert gap_s(seen, AT_S + 0.5) < rto_s


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rto_s", [5.0, 10.0, 30.0, 60.0])
def test_blips_below_the_lease_do_nothing(rto_s: float, seed: int) -> None:
    fleet = replace(three(ReplicationMode.QUORUM), rto_s=rto_s)
    lasting_s = 0.6 * fleet.patience.lease_s
    blips = tuple(
        Fault(AT_S + turn * 2 * lasting_s, kind, US, None, lasting_s)
        for turn, kind in enumerate((Kind.BLIP, Kind.REGION_FREEZE, Kind.MACHINE_PAUSE, Kind.ISOLATION))
    )
    assert lived(fleet, seed, *blips).outcome.failovers == 0


def tally_of(seen: Lived) -> Tally:
    machine = seen.simulation.sites[Region("eu")].machine
    assert machine is not None
    return machine.store.tallies.get(seen.simulation.fleet.app, (Tally(), 0))[0]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mode", ReplicationMode)
def test_a_needless_failover_is_counted_once(mode: ReplicationMode, seed: int) -> None:
    seen = lived(three(mode), seed, Fault(AT_S, Kind.REGION_FREEZE, US, None, 8.0))
    assert seen.outcome.failovers == 1
    found = tally_of(seen)
    assert (found.needless, found.needless_epoch) == (1, 2)
    assert found.needless_lost == seen.outcome.lost
    assert 2.0 < found.needless_gap_s < 5.0


def test_a_loss_was_not_needless() -> None:
    assert tally_of(lived(three(ReplicationMode.SYNC), 0, Fault(AT_S, Kind.REGION_LOSS, US, None, 8.0))) == Tally()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_region_that_was_cut_off_for_longer_than_a_minute_was_not_needlessly_replaced(seed: int) -> None:
    seen = lived(three(ReplicationMode.SYNC), seed, Fault(AT_S, Kind.ISOLATION, US, None, 75.0))
    assert seen.outcome.failovers == 1
    assert tally_of(seen).needless == 0


@pytest.mark.parametrize("kind", [Kind.REGION_LOSS, Kind.REGION_FREEZE, Kind.INSTANCE_KILL])
def test_what_is_observed_is_counted_once_and_stays_as_it_is(kind: Kind) -> None:
    fleet = replace(three(ReplicationMode.SYNC), failover=FailoverPolicy.OBSERVE)
    seen = lived(fleet, 0, Fault(AT_S, kind, US, None, 12.0))
    assert seen.outcome.failovers == 0
    assert tally_of(seen).withheld == 1
    request = Fault(AT_S + 8.0, Kind.FAILOVER, Region("eu"), Region("eu"))
    asked = lived(fleet, 0, Fault(AT_S, kind, US, None, 30.0), request)
    assert asked.outcome.failovers == 1, "an operator may"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mode", ReplicationMode)
def test_wal_that_still_arrives_does_not_keep_a_region_without_agent_beyond_the_rto(
    mode: ReplicationMode, seed: int
) -> None:
    seen = lived(three(mode), seed, Fault(AT_S, Kind.AGENT_KILL, US, None, 20.0))
    assert seen.outcome.failovers == 1
    assert gap_s(seen, AT_S + 2.1) < 3.0
