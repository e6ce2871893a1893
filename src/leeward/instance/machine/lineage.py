"""Comparing histories: timelines, where they fork, and when divergence is certain.

A timeline's number alone proves nothing (two instances that were promoted from the same one pick the same number), so
the forks' positions and the epochs written into the database count too.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lineage:
    """The history one instance holds."""

    system: str
    """The database's identifier, the same for all copies of it."""
    segments: tuple[tuple[int, int], ...]
    """(timeline, LSN where it ends), oldest first; the last one ends where the WAL does."""
    epochs: frozenset[int]
    """Epochs recorded in the database, as far as they are visible."""
    in_recovery: bool
    replayed_lsn: int

    @property
    def timeline(self) -> int:
        """The timeline it is on."""
        return self.segments[-1][0]

    @property
    def end_lsn(self) -> int:
        """How far its WAL goes."""
        return self.segments[-1][1]


@dataclass(frozen=True, slots=True)
class Compatible:
    """Our history is part of theirs: streaming may go on from where we are."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """Not known yet; a later comparison will show it."""

    because: str


@dataclass(frozen=True, slots=True)
class Diverged:
    """We hold history that theirs will never have, from ``fork_lsn`` on."""

    fork_lsn: int
    rewindable: bool
    """pg_rewind finds the fork too: it distinguishes histories by timeline numbers only."""
    because: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """Not a copy of the same database at all."""


Verdict = Compatible | Undecided | Diverged | Foreign


def compare(own: Lineage, theirs: Lineage, *, epoch: int, promoted_under: int | None = None) -> Verdict:
    """Judge our history against our upstream's, for an order of ``epoch``.

    ``promoted_under``: the last epoch that we may have been promoted under. Without its record in our history the
    last timeline may be one that only we have, whatever its number.
    No instance gives up its own history for that of a server in recovery: it may itself be about to be rewound.
    """
    unrecorded = promoted_under is not None and promoted_under < epoch and _lacks_a_record(own, promoted_under)
    verdict = _compare(own, theirs, epoch=epoch, unrecorded=unrecorded)
    start_lsn = own.segments[-2][1] if len(own.segments) > 1 else 0
    shares = isinstance(verdict, Compatible) or (isinstance(verdict, Diverged) and verdict.fork_lsn > start_lsn)
    if shares and unrecorded and _ends_in_its_own(own):
        verdict = Diverged(start_lsn, False, f"timeline {own.timeline} may be local only: its epoch was not recorded")
    if isinstance(verdict, Diverged) and theirs.in_recovery:
        return Undecided(f"{verdict.because}, and the upstream is not a primary")
    return verdict


def _lacks_a_record(own: Lineage, promoted_under: int) -> bool:
    """Whether the last timeline may be one of our own that ended before its epoch was recorded.

    Another instance that is promoted from the same LSN gives its timeline the same number. A promotion that never took
    effect began no timeline: then each timeline has its record.
    """
    return promoted_under not in own.epochs and len(own.epochs) < len(own.segments)


def _ends_in_its_own(own: Lineage) -> bool:
    """Whether all of the last timeline was replayed, and it holds anything. What is not may hold the record."""
    return len(own.segments) > 1 and own.replayed_lsn >= own.end_lsn > own.segments[-2][1]


def _compare(own: Lineage, theirs: Lineage, *, epoch: int, unrecorded: bool = False) -> Verdict:
    if own.system != theirs.system:
        return Foreign()
    start_lsn = 0
    for index, ((own_timeline, own_end), (their_timeline, their_end)) in enumerate(
        zip(own.segments, theirs.segments, strict=False)
    ):
        own_is_last, theirs_is_last = index == len(own.segments) - 1, index == len(theirs.segments) - 1
        if own_timeline != their_timeline:
            return Diverged(start_lsn, True, f"timeline {own_timeline} is not in the upstream's history")
        if own_is_last and theirs_is_last and own_end > their_end:
            return Undecided("the upstream is behind us on the same timeline")
        # A timeline of the same number may be one that both began, each its own.
        namesake = _namesake(own, theirs, index, start_lsn, epoch, unrecorded)
        if namesake is not None:
            return namesake
        if own_is_last or theirs_is_last or own_end != their_end:
            return _last_common(own, theirs, index)
        start_lsn = own_end
    raise AssertionError("a lineage has at least one segment")


def _last_common(own: Lineage, theirs: Lineage, index: int) -> Verdict:
    """Judge by where each history left the last timeline that both have."""
    (timeline, own_end), (_, their_end) = own.segments[index], theirs.segments[index]
    own_is_last, theirs_is_last = index == len(own.segments) - 1, index == len(theirs.segments) - 1
    if own_is_last:
        if own_end > their_end and not theirs_is_last:
            return Diverged(their_end, True, f"timeline {timeline} continues past the fork")
        return Compatible()
    if theirs_is_last:
        if their_end > own_end:
            return Diverged(own_end, True, f"the upstream continued timeline {timeline} past our fork")
        return Undecided(f"the upstream is still on timeline {timeline}")
    return Diverged(min(own_end, their_end), own.timeline != theirs.timeline, "timelines fork at different points")


def _namesake(
    own: Lineage, theirs: Lineage, index: int, start_lsn: int, epoch: int, unrecorded: bool
) -> Verdict | None:
    """Return a verdict when our timeline is not the one that has the same number there; None when nothing shows that.

    Each promotion begins a timeline and records an epoch. With more epochs of ours that are unknown there than we have
    timelines after this one, this one holds the record of one of them, and they never had it. The last one has none
    when it is ``unrecorded``. pg_rewind, which goes by the numbers, would see the histories fork where this one ends.
    """
    # The record of the epoch in force may still wait for its standbys there, so it does not count.
    unknown = sorted(number for number in own.epochs - theirs.epochs if number < epoch)
    recorded = len(own.segments) - index - unrecorded
    if len(unknown) < max(1, recorded):
        return None
    if theirs.in_recovery and theirs.replayed_lsn < own.end_lsn:
        return Undecided("the upstream has not replayed as far as we have")
    return Diverged(start_lsn, False, f"the upstream's history has no epoch {unknown[0]}")
