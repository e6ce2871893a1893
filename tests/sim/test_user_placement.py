"""A region without pods: its users are served elsewhere, writes go through other pods, and the primary stays."""

from leeward.core.values import Region, ReplicationMode
from leeward.sim import checkers
from leeward.sim.clients import Acknowledged
from leeward.sim.faults import Fault, Kind
from leeward.sim.fleet import three
from leeward.sim.plan import FOUND_S, Plan
from leeward.sim.swarm import Lived, live_through

US, EU, AP = Region("us"), Region("eu"), Region("ap")
GONE_S, LASTING_S = FOUND_S + 2.0, 30.0
# Until everybody has heard of it, and whoever waits for an answer has asked again.
NOTICED_S = 4.0


def lived(*others: Fault, mode: ReplicationMode = ReplicationMode.SYNC) -> tuple[Lived, list[str]]:
    lines = list[str]()
    faults = (Fault(GONE_S, Kind.SERVICE_LOSS, US, None, LASTING_S), *others)
    seen = live_through(Plan(1, three(mode), faults, (), 60.0), trace=lines.append)
    assert seen.outcome.violation is None
    return seen, [line[28:] for line in lines]


def meanwhile(seen: Lived, from_s: float, to_s: float) -> list[Acknowledged]:
    return [found for found in seen.simulation.acknowledgements if from_s <= found.committed_at_s < to_s]


def test_the_primary_stays_and_everybody_writes_to_it_through_other_pods() -> None:
    seen, lines = lived()
    done = meanwhile(seen, GONE_S + NOTICED_S, GONE_S + LASTING_S)
    assert {found.by for found in done} == {US}
    assert {found.key.split("-")[0] for found in done} == {US, EU, AP}
    assert checkers.epoch(seen.simulation.sites, seen.simulation.fleet.app) == 1
    assert "users of us read from eu and write to us through the pods of eu" in lines
    assert "users of eu write to us through the pods of eu" in lines
    assert "users of ap write to us through the pods of ap" in lines
    assert {f"users of {region} are served where they are" for region in (US, EU, AP)} <= set(lines)


def test_an_operator_may_move_it_to_where_pods_are() -> None:
    moved_at_s = GONE_S + 8.0
    seen, _ = lived(Fault(moved_at_s, Kind.SWITCHOVER, US, EU))
    done = meanwhile(seen, moved_at_s + NOTICED_S, GONE_S + LASTING_S)
    assert {found.by for found in done} == {EU}
    assert checkers.epoch(seen.simulation.sites, seen.simulation.fleet.app) == 2


def test_no_operator_may_move_it_to_where_none_are() -> None:
    seen, lines = lived(Fault(GONE_S - 1.0, Kind.SWITCHOVER, US, EU), Fault(GONE_S + 8.0, Kind.SWITCHOVER, EU, US))
    assert "replied: no pod of payments is ready in us: it could not serve its users" in lines
    done = meanwhile(seen, GONE_S + 8.0 + NOTICED_S, GONE_S + LASTING_S)
    assert {found.by for found in done} == {EU}
