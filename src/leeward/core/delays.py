"""How long regions are silent between two heartbeats: the data for choosing a fleet's patience. Pure.

A histogram per region with fixed bounds. Only silences that ended, with the same agent heard again, are in it: a region
that was lost and started again gives no information about how long its machines stand still.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from leeward.core import timers
from leeward.core.values import Region

BOUNDS_S = (0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 60.0)
BUCKETS = len(BOUNDS_S) + 1
YEAR_S = 365 * 86400.0
# Less than this is too little to say anything about a year.
MEASURED_MIN_S = 86400.0


def bucket(lasting_s: float) -> int:
    """Return which of the counts a silence belongs to."""
    return bisect_left(BOUNDS_S, lasting_s)


@dataclass(frozen=True, slots=True)
class Silences:
    """One region's, as another region saw them."""

    counts: tuple[int, ...] = (0,) * BUCKETS
    """How many lasted up to each of the bounds; the last one: longer than any."""
    observed_s: float = 0.0
    """How long all of them were together: for how long the region was looked at."""

    def longer_per_year(self, than_s: float) -> float:
        """Return how many a year last longer; those in the same bucket as ``than_s`` count as longer."""
        if not self.observed_s:
            return 0.0
        return sum(self.counts[bucket(than_s) :]) * YEAR_S / self.observed_s


@dataclass(frozen=True, slots=True)
class Delays:
    """What one region saw of the others, since it was first asked to."""

    regions: Mapping[Region, Silences] = field(default_factory=dict)

    @property
    def current(self) -> bool:
        """Whether they were counted by these bounds."""
        return all(len(each.counts) == BUCKETS for each in self.regions.values())


@dataclass(frozen=True, slots=True)
class Freeze:
    """How often a region stands still for this long, according to its provider or to monitoring."""

    lasting_s: float
    per_year: float


def fails_over(lasting_s: float, takeover_s: float, heartbeat_s: float) -> bool:
    """Whether a primary that stands still for so long is given up: the silence is longer by up to one heartbeat."""
    return lasting_s + heartbeat_s >= takeover_s + timers.margin_s(takeover_s)


def needless_per_year(freezes: Iterable[Freeze], takeover_s: float, heartbeat_s: float) -> float:
    """Return how many failovers a year these freezes cost, where one waits so long."""
    return sum(each.per_year for each in freezes if fails_over(each.lasting_s, takeover_s, heartbeat_s))


def longest_watched(reports: Iterable[Delays], region: Region) -> Silences | None:
    """Return a region's silences as the region that looked at it longest saw them; None when none did.

    All observers see nearly the same ones, so they are not added up.
    """
    found = [report.regions[region] for report in reports if region in report.regions]
    return max(found, key=lambda each: each.observed_s, default=None)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the measured silences mean for an application's RTO."""

    rto_s: float | None
    """The shortest that waits for all that was measured; None: leave it as it is."""
    needless_per_year: float | None
    """What is to be expected as things are; None: not measured for long enough."""
    because: str


def propose(
    measured: Silences | None, rto_s: float, max_rtt_s: float, takeover_s: float, *, synchronous: bool, dns_ttl_s: float
) -> Proposal:
    """Return which RTO would wait for every silence of the primary's region that was measured, and why."""
    if measured is None or measured.observed_s < MEASURED_MIN_S:
        hours = (measured.observed_s if measured is not None else 0.0) / 3600
        return Proposal(None, None, f"measured for {hours:.1f} h; at least a day is needed for a proposal")
    expected = measured.longer_per_year(takeover_s)
    if not expected:
        return Proposal(None, 0.0, f"nothing that was measured lasted longer than the wait of {takeover_s:.1f} s")
    longest = max(index for index, count in enumerate(measured.counts) if count)
    waits_s = BOUNDS_S[longest] if longest < len(BOUNDS_S) else None
    if waits_s is None or waits_s > timers.TAKEOVER_MAX_S:
        return Proposal(None, expected, f"some silences last longer than any wait ({timers.TAKEOVER_MAX_S:g} s)")
    needed_s = timers.rto_for_s(waits_s, max_rtt_s, synchronous=synchronous, dns_ttl_s=dns_ttl_s)
    because = (
        f"silences of up to {waits_s:g} s were measured, {expected:.0f} a year longer than the wait of "
        f"{takeover_s:.1f} s; an RTO of {needed_s:.1f} s instead of {rto_s:g} s would wait for all of them"
    )
    return Proposal(needed_s, expected, because)
