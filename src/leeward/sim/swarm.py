"""One seed, one world: it draws the fleet, the mode and the weather, heals everything, and demands order.

Runs differ widely because each draws which faults happen at all, and how often. A run is: found the application,
let clients write, let the storm pass, heal, require that everything converges within a bounded virtual
time and then stays as it is, and look for what was promised and is gone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from leeward.agent.machine import Machine
from leeward.core import timers
from leeward.core.values import App, Phase, Region, ReplicationMode
from leeward.sim import checkers
from leeward.sim.checkers import ViolationError
from leeward.sim.faults import HARMLESS, OPERATORS, Ambush, Fault, Kind, Storm, Who
from leeward.sim.fleet import DRIFT_MAX, Fleet
from leeward.sim.region import MachineFactory
from leeward.sim.simulation import Simulation

FOUND_S = 8.0
# What a fault set in motion before it was healed may still lead to a failover, for longer than a lease.
SETTLE_S = 8.0
CONVERGE_S = 90.0
STAY_S = 8.0
NAMES = tuple(Region(name) for name in ("us", "eu", "ap", "sa", "af", "ca", "au"))
APP = App("payments")


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run depends on."""

    seed: int
    fleet: Fleet
    faults: tuple[Fault, ...]
    ambushes: tuple[Ambush, ...]
    storm_s: float
    jitter: float = 0.1
    loss: float = 0.0
    write_every_s: float = 0.2
    calm: bool = False
    """Its faults are so short that nothing may move."""

    def __str__(self) -> str:
        fleet = self.fleet
        witnesses = f", witnesses {', '.join(sorted(fleet.witnesses))}" if fleet.witnesses else ""
        bad = f"{len(self.faults)} faults, {len(self.ambushes)} ambushes"
        return f"seed {self.seed}: {', '.join(fleet.regions)}{witnesses}; {fleet.mode}; {bad}"


@dataclass(slots=True)
class Outcome:
    """What came of a run."""

    plan: Plan
    violation: str | None = None
    acknowledged: int = 0
    lost: int = 0
    failovers: int = 0
    virtual_s: float = 0.0
    trace: list[str] = field(default_factory=list)


def draw(seed: int) -> Plan:
    """Return the world of a seed."""
    chance = Random(seed)
    fleet = _fleet(chance)
    lease_s = timers.derive(max(fleet.rtt_s.values())).lease_s
    storm_s = chance.choice((10.0, 20.0, 40.0))
    calm = chance.random() < 0.1
    kinds = sorted(HARMLESS if calm else Kind)
    present = [kind for kind in kinds if chance.random() < 0.3] or [chance.choice(kinds)]
    often_s = chance.choice((1.0, 3.0, 8.0))
    faults = list[Fault]()
    at_s = FOUND_S
    while True:
        at_s += chance.expovariate(1 / often_s) + (1.5 * lease_s if calm else 0.0)
        if at_s >= FOUND_S + storm_s:
            break
        faults += _fault(chance, chance.choice(present), at_s, fleet, lease_s, calm=calm)
    return Plan(
        seed=seed,
        fleet=fleet,
        faults=tuple(sorted(faults, key=lambda fault: fault.at_s)),
        ambushes=() if calm else tuple(_ambush(chance, fleet, lease_s) for _ in range(chance.choice((0, 0, 1, 3, 6)))),
        storm_s=storm_s,
        jitter=chance.choice((0.0, 0.1, 0.5)),
        loss=0.0 if calm else chance.choice((0.0, 0.0, 0.01, 0.05)),
        write_every_s=chance.choice((0.05, 0.2, 0.5)),
        calm=calm,
    )


def _fleet(chance: Random) -> Fleet:
    count = chance.choice((2, 3, 3, 3, 3, 4, 5, 5, 7))
    regions = NAMES[:count]
    witnesses = frozenset(regions[count - chance.choice((0, 0, 1)) :]) if count > 2 else frozenset()
    furthest_s = chance.choice((0.02, 0.08, 0.2, 0.3))
    pairs = [frozenset((a, b)) for index, a in enumerate(regions) for b in regions[index + 1 :]]
    return Fleet(
        regions=regions,
        witnesses=witnesses,
        rtt_s={pair: furthest_s * chance.uniform(0.2, 1.0) for pair in pairs},
        app=APP,
        mode=chance.choice(tuple(ReplicationMode)),
        rto_s=10.0,
        rpo_s=chance.choice((1.0, 5.0, 30.0)),
    )


def _fault(chance: Random, kind: Kind, at_s: float, fleet: Fleet, lease_s: float, *, calm: bool) -> list[Fault]:
    where = chance.choice(fleet.regions)
    other = chance.choice([region for region in fleet.regions if region != where])
    for_s = lease_s * chance.choice((0.2, 0.7, 1.0, 1.3, 2.0, 4.0)) * chance.uniform(0.7, 1.3)
    if calm or kind is Kind.BLIP:
        for_s = chance.uniform(0.05, 0.3) * lease_s
    match kind:
        case Kind.FLAPPING:
            period_s = chance.uniform(0.1, 0.8) * lease_s
            return [
                Fault(at_s + turn * period_s, Kind.PARTITION, where, other, period_s / 2)
                for turn in range(chance.randrange(2, 8))
            ]
        case Kind.BLIP | Kind.PARTITION | Kind.ONE_WAY:
            return [Fault(at_s, kind, where, chance.choice((None, other)), for_s)]
        case Kind.SLOW_LINK:
            return [Fault(at_s, kind, where, chance.choice((None, other)), for_s, chance.choice((0.1, 0.5, 2.0)))]
        case Kind.SLOW_DISK:
            return [Fault(at_s, kind, where, None, for_s, chance.choice((0.05, 0.3, 1.0)))]
        case Kind.CLOCK_DRIFT:
            return [Fault(at_s, kind, where, amount=chance.uniform(-DRIFT_MAX, DRIFT_MAX))]
        case Kind.CLOCK_JUMP:
            return [Fault(at_s, kind, where, amount=chance.uniform(-3600, 3600))]
        case Kind.MODE:
            return [Fault(at_s, kind, where, amount=chance.randrange(3))]
        case Kind.SWITCHOVER | Kind.FAILOVER:
            to = chance.choice(fleet.data_regions)
            return [Fault(at_s, kind, asked, to) for asked in fleet.data_regions]
        case Kind.LEADER_MOVE | Kind.COMPACTION | Kind.DATABASE_CRASH:
            return [Fault(at_s, kind, where)]
        case Kind.PAUSE:
            return [Fault(at_s, kind, where, None, for_s)]
        case _:
            return [Fault(at_s, kind, where, None, for_s)]


def _ambush(chance: Random, fleet: Fleet, lease_s: float) -> Ambush:
    kinds = sorted(set(Kind) - OPERATORS - {Kind.CLOCK_DRIFT, Kind.CLOCK_JUMP, Kind.FLAPPING})
    (fault, *_) = _fault(chance, chance.choice(kinds), chance.expovariate(1 / 0.15), fleet, lease_s, calm=False)
    who = chance.choice(tuple(Who))
    phase = chance.choice((Phase.ELECTING, Phase.PROMOTING, Phase.SWITCHING, Phase.STEADY))
    return Ambush(phase, chance.randrange(1, 4), who, fault)


def run(plan: Plan, *, make: MachineFactory = Machine, trace: Callable[[str], None] | None = None) -> Outcome:
    """Run a plan to its end, or to the first broken promise."""
    outcome = Outcome(plan)
    simulation = Simulation(
        plan.fleet,
        plan.seed,
        jitter=plan.jitter,
        loss=plan.loss,
        write_every_s=plan.write_every_s,
        make=make,
        trace=trace,
    )
    storm = Storm(simulation)
    try:
        _live_through(plan, simulation, storm, outcome)
    except ViolationError as error:
        outcome.violation = str(error)
    outcome.acknowledged = len(simulation.ledger.acknowledged)
    outcome.virtual_s = simulation.schedule.now_s
    return outcome


def _live_through(plan: Plan, simulation: Simulation, storm: Storm, outcome: Outcome) -> None:
    schedule, app = simulation.schedule, plan.fleet.app
    schedule.run_until(FOUND_S / 2)
    simulation.start_clients()
    schedule.run_until(FOUND_S)
    waiting = checkers.pending(simulation.sites, app, caught_up=False)
    if waiting:
        raise ViolationError(f"not founded within {FOUND_S:g} s: {'; '.join(waiting)}")
    storm.expect(plan.faults)
    storm.lie_in_wait(plan.ambushes)
    schedule.run_until(FOUND_S + plan.storm_s)
    storm.heal()
    until_s = schedule.now_s + CONVERGE_S
    schedule.run_until(schedule.now_s + SETTLE_S)
    while waiting := checkers.pending(simulation.sites, app, caught_up=False):
        if schedule.now_s >= until_s:
            raise ViolationError(f"not converged {CONVERGE_S:g} s after everything healed: {'; '.join(waiting)}")
        schedule.run_until(schedule.now_s + 1.0)
    epoch = checkers.epoch(simulation.sites, app)
    schedule.run_until(schedule.now_s + STAY_S)
    simulation.stop_clients()
    schedule.run_until(schedule.now_s + STAY_S)
    waiting = checkers.pending(simulation.sites, app)
    if waiting:
        raise ViolationError(f"it had converged, and came apart again: {'; '.join(waiting)}")
    if checkers.epoch(simulation.sites, app) != epoch:
        raise ViolationError(f"flapping: epoch {epoch} changed although all was well")
    outcome.failovers = epoch - 1
    if plan.calm and epoch != 1:
        raise ViolationError(f"the primary moved {epoch - 1} times for faults shorter than the lease")
    topology = checkers.topology(simulation.sites, app)
    assert topology.primary is not None, "converged"
    happened = {fault.kind for fault in plan.faults}
    modes = {plan.fleet.mode} | ({ReplicationMode.ASYNC} if Kind.MODE in happened else set())
    mode = ReplicationMode.ASYNC if ReplicationMode.ASYNC in modes else plan.fleet.mode
    missing = checkers.check_loss(simulation.sites, app, topology.primary, simulation.ledger, mode)
    outcome.lost = len(missing)
    if not happened & OPERATORS:
        checkers.check_bound(missing, plan.fleet)
