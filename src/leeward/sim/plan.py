"""One seed, one world: it draws the fleet, the mode and the weather, which faults happen and how often.

A plan is plain data and holds everything that a run depends on, so it can be printed, replayed and shrunk.
"""

from dataclasses import dataclass, replace
from random import Random

from leeward.core import timers
from leeward.core.values import App, FailoverPolicy, Phase, Region, ReplicationMode
from leeward.sim.faults import HARMLESS, Fault, Kind, TriggeredFault, Who
from leeward.sim.fleet import DRIFT_MAX, Fleet

FOUND_S = 8.0
# In which share of worlds standbys may lag for long.
LAGGING = 0.3
# In which share of worlds the agents look after a second application.
BESIDE = 0.15
NAMES = tuple(Region(name) for name in ("us", "eu", "ap", "sa", "af", "ca", "au"))
APP = App("payments")
Pair = tuple[Kind, Phase]
PAIRS: tuple[Pair, ...] = tuple(
    (kind, phase) for phase in Phase for kind in sorted(Kind) if kind is not Kind.SLOW_REPLICA
)
"""What a fault can meet. Each world is led to one of them, so that chance leaves none out."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run depends on."""

    seed: int
    fleet: Fleet
    faults: tuple[Fault, ...]
    triggered: tuple[TriggeredFault, ...]
    injection_s: float
    jitter: float = 0.1
    loss: float = 0.0
    duplication: float = 0.0
    write_every_s: float = 0.2
    beside: Fleet | None = None
    """Another application of the same regions, which no fault is aimed at."""
    calm: bool = False
    """Its faults are such that the primary may not move."""
    skips_quiet: bool = False
    """Long stretches in which nothing can happen are left out (``quiet.py``)."""

    def __str__(self) -> str:
        fleet = self.fleet
        witnesses = f", witnesses {', '.join(sorted(fleet.witnesses))}" if fleet.witnesses else ""
        witnesses += f", spares {', '.join(sorted(fleet.spares))}" if fleet.spares else ""
        bad = f"{len(self.faults)} faults, {len(self.triggered)} triggered faults"
        observed = ", failover observed only" if fleet.failover is FailoverPolicy.OBSERVE else ""
        beside = f", beside another one in {self.beside.mode}" if self.beside is not None else ""
        return f"seed {self.seed}: {', '.join(fleet.regions)}{witnesses}; {fleet.mode}{observed}{beside}; {bad}"


@dataclass(frozen=True, slots=True)
class Focus:
    """Which worlds to draw from: all of them, or those where a certain weakness would show."""

    counts: tuple[int, ...] = (2, 3, 3, 3, 3, 4, 5, 5, 6, 7)
    """How many regions, by weight."""
    modes: tuple[ReplicationMode, ...] = tuple(ReplicationMode)
    rtts_s: tuple[float, ...] = (0.004, 0.02, 0.08, 0.2, 0.3)
    """The fleet's largest round trip."""
    rtos_s: tuple[float, ...] = (5.0, 5.0, 10.0, 10.0, 30.0, 60.0)
    """The objective, by weight: the longer it is, the longer a silent primary is waited for."""
    policies: tuple[FailoverPolicy, ...] = (*9 * (FailoverPolicy.AUTOMATIC,), FailoverPolicy.OBSERVE)
    """What happens when the primary is lost, by weight."""
    kinds: frozenset[Kind] | None = None
    """Which faults happen; None: any."""
    injections_s: tuple[float, ...] = (10.0, 20.0, 40.0)
    """For how long."""
    triggered: int = 0
    """How many of ``kinds`` strike at a moment of the topology, besides."""


EVERYTHING = Focus()


def draw(seed: int, focus: Focus = EVERYTHING, pair: Pair | None = None) -> Plan:
    """Return the world of a seed, led to ``pair``; None: to the one whose turn it is by the seed.

    The same seed and pair are the same world.
    """
    chance = Random(seed)
    fleet = _fleet(seed, chance, focus)
    lease_s = _scale_s(seed, fleet)
    injection_s = chance.choice(focus.injections_s)
    calm = focus.kinds is None and chance.random() < 0.1
    kinds = sorted(HARMLESS if calm else (focus.kinds or frozenset(Kind)) - {Kind.SLOW_REPLICA})
    present = [kind for kind in kinds if focus.kinds or chance.random() < 0.3] or [chance.choice(kinds)]
    often_s = chance.choice((1.0, 3.0, 8.0))
    triggered = focus.triggered if calm or focus.kinds else chance.choice((0, 0, 1, 3, 6))
    faults = list[Fault]()
    at_s = FOUND_S
    while True:
        at_s += chance.expovariate(1 / often_s) + (1.5 * lease_s if calm else 0.0)
        if at_s >= FOUND_S + injection_s:
            break
        faults += _fault(chance, chance.choice(present), at_s, fleet, lease_s, calm=calm)
    if not calm and (focus.kinds is None or Kind.SLOW_REPLICA in focus.kinds):
        faults += _lagging(seed, fleet, injection_s, LAGGING if focus.kinds is None else 1.0)
    armed = [_triggered_fault(chance, fleet, lease_s, focus.kinds) for _ in range(triggered)]
    if not calm and focus.kinds is None:
        led_to, trigger = _steered(seed, pair or PAIRS[seed % len(PAIRS)], fleet, lease_s)
        faults += led_to
        armed.append(trigger)
    return Plan(
        seed=seed,
        fleet=fleet,
        faults=tuple(sorted(faults, key=lambda fault: fault.at_s)),
        triggered=tuple(armed),
        injection_s=injection_s,
        jitter=chance.choice((0.0, 0.1, 0.5)),
        loss=0.0 if calm else chance.choice((0.0, 0.0, 0.01, 0.05)),
        write_every_s=chance.choice((0.05, 0.2, 0.5)),
        beside=_beside(seed, fleet, focus),
        calm=calm,
        duplication=0.0 if calm else chance.choice((0.0, 0.0, 0.1)),
    )


def _scale_s(seed: int, fleet: Fleet) -> float:
    """Return what faults are long or short by: a region's lease, or what the application's primary is waited for."""
    scales_s = (timers.derive(max(fleet.rtt_s.values())).lease_s, fleet.patience.takeover_s)
    return Random(f"{seed}: scale").choice(scales_s)


def _fleet(seed: int, chance: Random, focus: Focus) -> Fleet:
    count = chance.choice(focus.counts)
    regions = NAMES[:count]
    witnesses = frozenset(regions[count - chance.choice((0, 0, 1)) :]) if count > 2 else frozenset()
    furthest_s = chance.choice(focus.rtts_s)
    hosts = count - len(witnesses)
    spares = (
        frozenset(regions[hosts - chance.choice((0, 1, 2)) : hosts]) if hosts > 2 and _moves(focus) else frozenset()
    )
    pairs = [frozenset((a, b)) for index, a in enumerate(regions) for b in regions[index + 1 :]]
    return Fleet(
        regions=regions,
        witnesses=witnesses,
        rtt_s={pair: furthest_s * chance.uniform(0.2, 1.0) for pair in pairs},
        app=APP,
        mode=chance.choice(focus.modes),
        failover=Random(f"{seed}: failover").choice(focus.policies),
        rto_s=Random(f"{seed}: rto").choice(focus.rtos_s),
        rpo_s=chance.choice((1.0, 5.0, 30.0)),
        spares=spares,
    )


def _beside(seed: int, fleet: Fleet, focus: Focus) -> Fleet | None:
    """Return a second application for a share of the worlds, with objectives of its own."""
    # Drawn apart, so that the rest of a seed's world does not depend on it.
    chance = Random(f"{seed}: beside")
    if focus.kinds is not None or chance.random() >= BESIDE:
        return None
    return replace(
        fleet,
        app=App("orders"),
        mode=chance.choice(tuple(ReplicationMode)),
        rto_s=chance.choice(focus.rtos_s),
        rpo_s=chance.choice((1.0, 5.0, 30.0)),
        failover=FailoverPolicy.AUTOMATIC,
    )


def _moves(focus: Focus) -> bool:
    """Whether data regions may come and go."""
    return focus.kinds is None or Kind.DATA_REGIONS in focus.kinds


def _fault(chance: Random, kind: Kind, at_s: float, fleet: Fleet, lease_s: float, *, calm: bool) -> list[Fault]:
    where = chance.choice(fleet.regions)
    other = chance.choice([region for region in fleet.regions if region != where])
    for_s = lease_s * chance.choice((0.2, 0.7, 1.0, 1.3, 2.0, 4.0)) * chance.uniform(0.7, 1.3)
    if (calm and kind is not Kind.SERVICE_LOSS) or kind is Kind.BLIP:
        for_s = chance.uniform(0.05, 0.3) * lease_s
    fault = Fault(at_s, kind, where, None, for_s)
    match kind:
        case Kind.FLAPPING:
            period_s = chance.uniform(0.1, 0.8) * lease_s
            turns = range(chance.randrange(2, 8))
            return [Fault(at_s + turn * period_s, kind, where, other, period_s / 2) for turn in turns]
        case Kind.SWITCHOVER | Kind.FAILOVER:
            to = chance.choice(fleet.hosts)
            return [Fault(at_s, kind, asked, to) for asked in fleet.hosts]
        case Kind.WAL_REMOVED:
            return [Fault(at_s, kind, region, None, 2 * for_s, 5.0) for region in fleet.hosts]
        case Kind.MODE:
            return [Fault(at_s, kind, where, amount=chance.randrange(3))]
        case Kind.DATA_REGIONS:
            return [Fault(at_s, kind, chance.choice(fleet.hosts), amount=float(chance.random() < 0.1))]
        case Kind.BLIP | Kind.PARTITION | Kind.ONE_WAY | Kind.SLOW_LINK:
            return [_of_links(chance, fault, other)]
        case Kind.CLOCK_DRIFT | Kind.CLOCK_JUMP:
            return [_of_clocks(chance, fault)]
        case Kind.STORE_RESTORE | Kind.STORE_WIPE | Kind.AMNESIA:
            return [_of_the_store(chance, fault)]
        case Kind.LEADER_MOVE | Kind.COMPACTION | Kind.DATABASE_CRASH:
            return [Fault(at_s, kind, where)]
        case (
            Kind.SLOW_DISK
            | Kind.HUNG_DISK
            | Kind.FULL_DISK
            | Kind.BUSY_CHECKPOINTER
            | Kind.LATE_REQUEST
            | Kind.BULK_WRITE
            | Kind.STEP_FAILURE
            | Kind.INSTANCE_KILL
        ):
            return [_of_a_database(chance, fault)]
        case _:
            return [fault]


def _of_links(chance: Random, fault: Fault, other: Region) -> Fault:
    """Return a fault of one link of its region, or of all of them."""
    fault = replace(fault, other=chance.choice((None, other)))
    return replace(fault, amount=chance.choice((0.1, 0.5, 2.0))) if fault.kind is Kind.SLOW_LINK else fault


def _of_clocks(chance: Random, fault: Fault) -> Fault:
    """Return a fault of a clock that does not end: how far, or how fast, it goes wrong."""
    most = DRIFT_MAX if fault.kind is Kind.CLOCK_DRIFT else 3600
    return replace(fault, for_s=0.0, amount=chance.uniform(-most, most))


def _of_the_store(chance: Random, fault: Fault) -> Fault:
    """Return a fault that sets the store back by so many seconds."""
    if fault.kind is Kind.AMNESIA:
        return replace(fault, for_s=0.0, amount=chance.uniform(0.0, 3.0))
    age_s = chance.choice((1.0, 5.0, 20.0)) * chance.uniform(0.5, 1.5)
    return replace(fault, for_s=chance.choice((0.0, fault.for_s)), amount=age_s)


def _of_a_database(chance: Random, fault: Fault) -> Fault:
    """Return a fault of a database, its disk or its instance manager, with how bad it is and for how long."""
    match fault.kind:
        case Kind.SLOW_DISK:
            return replace(fault, amount=chance.choice((0.05, 0.3, 1.0)))
        case Kind.HUNG_DISK:
            return replace(fault, for_s=chance.uniform(0.5, 10.0) * chance.choice((1.0, 1.0, 4.0)))
        case Kind.FULL_DISK:
            return replace(fault, for_s=chance.uniform(0.5, 20.0), amount=chance.choice((0.0, 1.0)))
        case Kind.BUSY_CHECKPOINTER | Kind.LATE_REQUEST:
            return replace(fault, for_s=chance.uniform(0.5, 10.0), amount=chance.choice((1.0, 4.0, 10.0)))
        case Kind.BULK_WRITE:
            return replace(fault, for_s=chance.uniform(1.0, 20.0), amount=chance.choice((1.0, 5.0)))
        case Kind.STEP_FAILURE:
            return replace(fault, for_s=2 * fault.for_s, amount=chance.choice((0.0, 0.0, 2.0, 6.0)))
        case _:
            return replace(fault, amount=chance.choice((0.0, 1.0)))


def _lagging(seed: int, fleet: Fleet, injection_s: float, share: float) -> list[Fault]:
    """Return, for a share of the worlds, replicas that fall far behind, and regions lost in succession meanwhile."""
    # Drawn apart, so that the rest of a seed's world does not depend on it.
    chance = Random(f"lagging-{seed}")
    leads, *standbys = fleet.data_regions
    if not standbys or chance.random() >= share:
        return []
    lease_s = timers.derive(max(fleet.rtt_s.values())).lease_s
    behind = standbys if chance.random() < 0.6 else chance.sample(standbys, 1)
    begins_s = FOUND_S + chance.uniform(0.0, 2.0)
    slow = [
        Fault(begins_s, Kind.SLOW_REPLICA, region, None, injection_s, chance.choice((1.0, 6.0, 15.0)))
        for region in behind
    ]
    losses, at_s = list[Fault](), begins_s + injection_s * chance.uniform(0.5, 0.8)
    for region in (leads, *chance.sample(standbys, chance.randint(0, 1))):
        kind = chance.choice((Kind.REGION_LOSS, Kind.ISOLATION))
        losses.append(Fault(at_s, kind, region, None, lease_s * chance.uniform(2.0, 8.0)))
        at_s += lease_s * chance.uniform(1.5, 4.0)
    return [*slow, *losses]


def _steered(seed: int, pair: Pair, fleet: Fleet, lease_s: float) -> tuple[list[Fault], TriggeredFault]:
    """Return what leads a world to a pair of fault and phase, and the triggered fault there."""
    chance = Random(f"steered-{seed}")
    kind, phase = pair
    (fault, *_) = _fault(chance, kind, chance.expovariate(1 / 0.1), fleet, lease_s, calm=False)
    trigger = TriggeredFault(phase, 1, chance.choice(tuple(Who)), fault)
    at_s, first = FOUND_S + chance.uniform(0.5, 2.0), fleet.data_regions[0]
    to = fleet.data_regions[-1]
    if phase is Phase.SWITCHING:
        return [Fault(at_s, Kind.SWITCHOVER, asked, to) for asked in fleet.hosts], trigger
    return [Fault(at_s, Kind.REGION_LOSS, first, None, 2 * lease_s)], trigger


def _triggered_fault(chance: Random, fleet: Fleet, lease_s: float, among: frozenset[Kind] | None) -> TriggeredFault:
    apart = {Kind.CLOCK_DRIFT, Kind.CLOCK_JUMP, Kind.FLAPPING, Kind.SLOW_REPLICA}
    kinds = sorted((among or frozenset(Kind)) - apart)
    (fault, *_) = _fault(chance, chance.choice(kinds), chance.expovariate(1 / 0.15), fleet, lease_s, calm=False)
    who = chance.choice(tuple(Who))
    phase = chance.choice((Phase.ELECTING, Phase.PROMOTING, Phase.SWITCHING, Phase.STEADY))
    return TriggeredFault(phase, chance.randrange(1, 4), who, fault)
