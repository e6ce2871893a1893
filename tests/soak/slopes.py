"""Judge whether gauges stayed flat. Pure.

A gauge grows when two measures agree: the slope (Theil and Sen's: the median of the slopes of all pairs of samples,
which a few outliers do not move) times the time, and the median of its last fifth less that of its first fifth. What
comes and goes has neither, and what jumps once and stays has no slope.
"""

import fnmatch
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

MIB = 2.0**20
PAIRS_FROM = 120
"""At most so many samples of a gauge are compared, evenly chosen: the pairs are as many as their square."""
SAMPLES_MIN = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """What every gauge showed at one time."""

    at_s: float
    gauges: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Bound:
    """By how much gauges whose name has this pattern may grow."""

    pattern: str
    growth: float
    """At any time: noise, and caches that fill."""
    growth_per_hour: float


@dataclass(frozen=True, slots=True)
class Trend:
    """How one gauge moved."""

    name: str
    first: float
    last: float
    per_hour: float
    growth: float
    """The smaller of the two measures."""
    allowed: float

    @property
    def flat(self) -> bool:
        """Whether it kept its bound."""
        return self.growth <= self.allowed


BOUNDS = (
    # etcd keeps its Raft log in memory, up to 6,000 entries: 8 minutes of heartbeats.
    Bound("* etcd * anonymous_bytes", 16 * MIB, 4 * MIB),
    # Both logs reuse their files once they are as large as they may be.
    Bound("* disk_bytes", 512 * MIB, 64 * MIB),
    # History that is compacted every few minutes.
    Bound("* store_bytes", 16 * MIB, 4 * MIB),
    # Whatever runs beside it: a second more is no queue yet.
    Bound("* latency_ms", 1000, 0),
    # Caches and the allocators' pools fill, more slowly with time.
    Bound("*memory*", 8 * MIB, 4 * MIB),
    Bound("*_bytes", 8 * MIB, 4 * MIB),
    # Checks, probes and tunnels in reserve come and go. A tunnel a minute is more than this in 20 minutes.
    Bound("* envoy *", 12, 0),
    # One connection, descriptor or process in ten minutes is more than this in half an hour, a tunnel a second at once.
    Bound("*", 3, 0),
)
"""The first that fits counts."""


def judge(samples: Sequence[Sample], bounds: Sequence[Bound] = BOUNDS, *, share: float = 1.0) -> list[Trend]:
    """Return the trend of each gauge that this share of the samples has; that which grows most beyond its bound first.

    Raises ValueError for too few samples to tell.
    """
    if len(samples) < SAMPLES_MIN:
        raise ValueError(f"{len(samples)} samples are too few to tell, {SAMPLES_MIN} are needed")
    counts = Counter(name for sample in samples for name in sample.gauges)
    names = sorted(name for name, count in counts.items() if count >= max(SAMPLES_MIN, share * len(samples)))
    trends = [_trend(name, [each for each in samples if name in each.gauges], bounds) for name in names]
    return sorted(trends, key=lambda each: each.growth / each.allowed, reverse=True)


def _trend(name: str, samples: Sequence[Sample], bounds: Sequence[Bound]) -> Trend:
    step = max(1, len(samples) // PAIRS_FROM)
    points = [(sample.at_s, sample.gauges[name]) for sample in samples[::step]]
    lasted_s = points[-1][0] - points[0][0]
    slope = median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2))
    fifth = max(1, len(points) // 5)
    first = median(y for _, y in points[:fifth])
    last = median(y for _, y in points[-fifth:])
    bound = next(each for each in bounds if fnmatch.fnmatchcase(name, each.pattern))
    return Trend(
        name=name,
        first=first,
        last=last,
        per_hour=slope * 3600,
        growth=min(slope * lasted_s, last - first),
        allowed=bound.growth + bound.growth_per_hour * lasted_s / 3600,
    )


def report(trends: Sequence[Trend], most: int = 25) -> str:
    """Return the trends that grew most, as lines."""
    lines = []
    for each in trends[:most]:
        first, last, per_hour, allowed = (
            _amount(each.name, value) for value in (each.first, each.last, each.per_hour, each.allowed)
        )
        verdict = "flat " if each.flat else "GROWS"
        lines.append(f"{verdict} {first:>10} -> {last:>10}  {per_hour:>10}/h  (allowed {allowed})  {each.name}")
    return "\n".join(lines)


def _amount(name: str, value: float) -> str:
    is_memory = "memory" in name or name.endswith("_bytes")
    return f"{value / MIB:.1f} MiB" if is_memory else f"{value:.1f}"
