"""One seed, one world: it draws the fleet, the mode and the weather, which faults happen and how often.

A plan is plain data and holds everything that a run depends on, so it can be told, replayed and shrunk.
"""

from dataclasses import dataclass
from random import Random

from leeward.core import timers
from leeward.core.values import App, Phase, Region, ReplicationMode
from leeward.sim.faults import HARMLESS, Ambush, Fault, Kind, Who
from leeward.sim.fleet import DRIFT_MAX, Fleet

FOUND_S = 8.0
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
    duplication: float = 0.0
    write_every_s: float = 0.2
    calm: bool = False
    """Its faults are such that the primary may not move."""
    skips_quiet: bool = False
    """Long stretches in which nothing can happen are left out (``quiet.py``)."""

    def __str__(self) -> str:
        fleet = self.fleet
        witnesses = f", witnesses {', '.join(sorted(fleet.witnesses))}" if fleet.witnesses else ""
        bad = f"{len(self.faults)} faults, {len(self.ambushes)} ambushes"
        return f"seed {self.seed}: {', '.join(fleet.regions)}{witnesses}; {fleet.mode}; {bad}"


@dataclass(frozen=True, slots=True)
class Focus:
    """Which worlds to draw from: all of them, or those where a certain weakness would show."""

    counts: tuple[int, ...] = (2, 3, 3, 3, 3, 4, 5, 5, 6, 7)
    """How many regions, by weight."""
    modes: tuple[ReplicationMode, ...] = tuple(ReplicationMode)
    rtts_s: tuple[float, ...] = (0.004, 0.02, 0.08, 0.2, 0.3)
    """The fleet's largest round trip."""
    kinds: frozenset[Kind] | None = None
    """Which faults happen; None: any."""


EVERYTHING = Focus()


def draw(seed: int, focus: Focus = EVERYTHING) -> Plan:
    """Return the world of a seed."""
    chance = Random(seed)
    fleet = _fleet(chance, focus)
    lease_s = timers.derive(max(fleet.rtt_s.values())).lease_s
    storm_s = chance.choice((10.0, 20.0, 40.0))
    calm = focus.kinds is None and chance.random() < 0.1
    kinds = sorted(HARMLESS if calm else focus.kinds or Kind)
    present = [kind for kind in kinds if focus.kinds or chance.random() < 0.3] or [chance.choice(kinds)]
    often_s = chance.choice((1.0, 3.0, 8.0))
    ambushes = 0 if calm or focus.kinds else chance.choice((0, 0, 1, 3, 6))
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
        ambushes=tuple(_ambush(chance, fleet, lease_s) for _ in range(ambushes)),
        storm_s=storm_s,
        jitter=chance.choice((0.0, 0.1, 0.5)),
        loss=0.0 if calm else chance.choice((0.0, 0.0, 0.01, 0.05)),
        write_every_s=chance.choice((0.05, 0.2, 0.5)),
        calm=calm,
        duplication=0.0 if calm else chance.choice((0.0, 0.0, 0.1)),
    )


def _fleet(chance: Random, focus: Focus) -> Fleet:
    count = chance.choice(focus.counts)
    regions = NAMES[:count]
    witnesses = frozenset(regions[count - chance.choice((0, 0, 1)) :]) if count > 2 else frozenset()
    furthest_s = chance.choice(focus.rtts_s)
    pairs = [frozenset((a, b)) for index, a in enumerate(regions) for b in regions[index + 1 :]]
    return Fleet(
        regions=regions,
        witnesses=witnesses,
        rtt_s={pair: furthest_s * chance.uniform(0.2, 1.0) for pair in pairs},
        app=APP,
        mode=chance.choice(focus.modes),
        rto_s=10.0,
        rpo_s=chance.choice((1.0, 5.0, 30.0)),
    )


def _fault(chance: Random, kind: Kind, at_s: float, fleet: Fleet, lease_s: float, *, calm: bool) -> list[Fault]:
    where = chance.choice(fleet.regions)
    other = chance.choice([region for region in fleet.regions if region != where])
    for_s = lease_s * chance.choice((0.2, 0.7, 1.0, 1.3, 2.0, 4.0)) * chance.uniform(0.7, 1.3)
    if (calm and kind is not Kind.SERVICE_LOSS) or kind is Kind.BLIP:
        for_s = chance.uniform(0.05, 0.3) * lease_s
    match kind:
        case Kind.FLAPPING:
            period_s = chance.uniform(0.1, 0.8) * lease_s
            return [
                Fault(at_s + turn * period_s, kind, where, other, period_s / 2)
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
        case _:
            return [Fault(at_s, kind, where, None, for_s)]


def _ambush(chance: Random, fleet: Fleet, lease_s: float) -> Ambush:
    kinds = sorted(set(Kind) - {Kind.CLOCK_DRIFT, Kind.CLOCK_JUMP, Kind.FLAPPING})
    (fault, *_) = _fault(chance, chance.choice(kinds), chance.expovariate(1 / 0.15), fleet, lease_s, calm=False)
    who = chance.choice(tuple(Who))
    phase = chance.choice((Phase.ELECTING, Phase.PROMOTING, Phase.SWITCHING, Phase.STEADY))
    return Ambush(phase, chance.randrange(1, 4), who, fault)
