"""How far the primaries' WAL was, over time: what the loss of an asynchronous failover is estimated with.

The record is kept in the quorum store by the agent of the primary, so that every agent judges alike from the same
content: whenever it started, and however late its watch delivers. Times are *write time*: seconds on the boot clock
of the primary's own instance manager, added up over primaries. Between one primary and the next no write is
acknowledged, so a change of primary, or of the instance manager's process, adds nothing.

Always true: a point says that at that time the primary held no more than this. Leaving a point out, or a record that
starts late, makes an estimate larger, never smaller; what the record does not cover is an infinite loss.
Not here: what a primary wrote after its last record, which is at most a lease and one interval (``interval_s``).
"""

import math
from dataclasses import dataclass, replace

from leeward.core.fast_frozen import fast_frozen
from leeward.core.values import Region, WalPosition

# Points are at most this share of the RPO apart, and this share of their age where that is more.
POINTS_PER_RPO = 6
# Two neighbouring gaps are together longer than that, so these cover more than the RPO.
POINTS_KEPT = 16


@fast_frozen
@dataclass(frozen=True, slots=True)
class Progress:
    """How far a primary's WAL was at ``at_s`` of write time."""

    at_s: float
    wal: WalPosition


@dataclass(frozen=True, slots=True)
class ProgressRecord:
    """The points, oldest first, and the clock that the newest was read from. Columns: a third of the bytes."""

    region: Region
    incarnation: str
    """Of the instance manager whose clock it is."""
    clock_s: float
    """What that clock showed at the last point."""
    at_s: tuple[float, ...]
    epochs: tuple[int, ...]
    timelines: tuple[int, ...]
    lsns: tuple[int, ...]

    def points(self) -> tuple[Progress, ...]:
        """Return the rows."""
        return tuple(
            Progress(at_s, WalPosition(epoch, lsn, timeline))
            for at_s, epoch, timeline, lsn in zip(self.at_s, self.epochs, self.timelines, self.lsns, strict=True)
        )

    @property
    def wal(self) -> WalPosition:
        """Return how far the primary was at the last point."""
        return WalPosition(self.epochs[-1], self.lsns[-1], self.timelines[-1])


def interval_s(rpo_s: float, heartbeat_s: float) -> float:
    """Return how far apart points are, and how often a primary's agent writes the record."""
    return max(heartbeat_s, rpo_s / POINTS_PER_RPO)


def advance(
    record: ProgressRecord | None, region: Region, incarnation: str, clock_s: float, wal: WalPosition, spacing_s: float
) -> ProgressRecord:
    """Return the record with what a primary's instance manager reported at ``clock_s`` of its boot clock.

    ``spacing_s``: points that close together are as good as one.
    """
    clock_s = round(clock_s, 3)
    if record is None or not record.at_s:
        return ProgressRecord(region, incarnation, clock_s, (0.0,), (wal.epoch,), (wal.timeline,), (wal.lsn,))
    same_clock = (record.region, record.incarnation) == (region, incarnation)
    step_s = max(0.0, clock_s - record.clock_s) if same_clock else 0.0
    # While nothing is written the last point moves along: only the time after it may count as lost.
    end = len(record.at_s) - 1 if same_clock and record.wal == wal else len(record.at_s)
    at_s = (*record.at_s[:end], round(record.at_s[-1] + step_s, 3))
    kept = _kept(at_s, spacing_s)
    return ProgressRecord(
        region,
        incarnation,
        max(clock_s, record.clock_s) if same_clock else clock_s,
        tuple([at_s[index] for index in kept]),
        tuple([record.epochs[index] for index in kept[:-1]] + [wal.epoch]),
        tuple([record.timelines[index] for index in kept[:-1]] + [wal.timeline]),
        tuple([record.lsns[index] for index in kept[:-1]] + [wal.lsn]),
    )


def _kept(at_s: tuple[float, ...], spacing_s: float) -> list[int]:
    """Return which points stay: the newest, and of the others those whose neighbours are too far apart without them."""
    last = len(at_s) - 1
    newest_s = kept_s = at_s[last]
    kept = [last]
    for index in range(last - 1, -1, -1):
        apart_s = max(spacing_s, (newest_s - kept_s) / POINTS_PER_RPO)
        if index == 0 or kept_s - at_s[index - 1] > apart_s:
            kept.append(index)
            kept_s = at_s[index]
    return kept[POINTS_KEPT - 1 :: -1]


def loss_s(points: tuple[Progress, ...], wal: WalPosition) -> float:
    """Return how many seconds of writes a replica that holds ``wal`` lacks; infinity when the points do not cover it.

    The latest point that it holds counts: resolution is the points' distance, rounded up. Where the timeline of one is
    not known, none counts: without it a position compares as less than any other of its epoch.
    """
    if not points:
        return math.inf
    if not (wal.timeline and all(point.wal.timeline for point in points)):
        wal = replace(wal, timeline=0)
        points = tuple(Progress(point.at_s, replace(point.wal, timeline=0)) for point in points)
    newest = points[-1]
    if wal >= newest.wal:
        return 0.0
    return newest.at_s - max((point.at_s for point in points if point.wal <= wal), default=-math.inf)
