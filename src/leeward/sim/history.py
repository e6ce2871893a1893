"""Write-ahead logs as lists: a record's index is its LSN, and it knows the epoch it was written under."""

from dataclasses import dataclass

from leeward.core.fast_frozen import fast_frozen
from leeward.core.values import WalPosition


@fast_frozen
@dataclass(frozen=True, slots=True)
class WalRecord:
    """One committed thing: a client's write, or (``key`` is None) the epoch's own record, or a replay's."""

    epoch: int
    number: int
    """Distinguishes records of an epoch: no two histories hold the same one by chance."""
    key: str | None
    timeline: str
    """Which timeline it is on: each promotion begins one."""


class History:
    """One replica's WAL on disk."""

    def __init__(self) -> None:
        self.records: list[WalRecord] = []
        self._lsn_of: dict[str, int] = {}
        self._runs: list[tuple[int, str, int]] = []
        """(LSN before it, timeline, epoch) of each stretch under one epoch and timeline."""

    def __len__(self) -> int:
        return len(self.records)

    @property
    def position(self) -> WalPosition:
        """How much of history it holds."""
        return WalPosition(self.records[-1].epoch if self.records else 0, len(self.records))

    @property
    def timeline(self) -> str:
        """The timeline of the last record; none before there is any."""
        return self.records[-1].timeline if self.records else ""

    def append(self, record: WalRecord) -> int:
        """Add a record and return its LSN."""
        if not self._runs or self._runs[-1][1:] != (record.timeline, record.epoch):
            self._runs.append((len(self.records), record.timeline, record.epoch))
        self.records.append(record)
        if record.key is not None:
            self._lsn_of.setdefault(record.key, len(self.records))
        return len(self.records)

    def holds(self, key: str) -> bool:
        """Whether the client's write is in it."""
        return key in self._lsn_of

    def cut_at(self, lsn: int) -> list[WalRecord]:
        """Forget everything after ``lsn``, and return it."""
        lost = self.records[lsn:]
        del self.records[lsn:]
        while self._runs and self._runs[-1][0] >= lsn:
            self._runs.pop()
        for record in lost:
            if record.key is not None and self._lsn_of.get(record.key, 0) > lsn:
                del self._lsn_of[record.key]
        return lost

    @property
    def epochs(self) -> frozenset[int]:
        """Every epoch with a record in it."""
        return frozenset(epoch for _, _, epoch in self._runs)

    @property
    def segments(self) -> tuple[tuple[int, int], ...]:
        """(timeline, LSN where it ends), oldest first, numbered as PostgreSQL does: one more at each promotion.

        Two histories that fork therefore number different timelines alike.
        """
        starts: list[int] = []
        last = None
        for start_lsn, timeline, _ in self._runs:
            if timeline != last:
                starts.append(start_lsn)
                last = timeline
        ends = [*starts[1:], len(self.records)]
        return tuple(enumerate(ends, start=1)) or ((1, 0),)

    def copy_of(self, other: "History", lsn: int) -> None:
        """Become a copy of another history, up to ``lsn``."""
        self.cut_at(0)
        for record in other.records[:lsn]:
            self.append(record)

    def shares(self, other: "History", lsn: int) -> bool:
        """Whether both hold the same record there."""
        return len(self) >= lsn and len(other) >= lsn and self.records[lsn - 1] == other.records[lsn - 1]

    def common_with(self, other: "History") -> int:
        """Return how many records the two share from the beginning."""
        low, high = 0, min(len(self), len(other))
        # Histories are equal up to their fork and different after it.
        while low < high:
            middle = (low + high + 1) // 2
            if self.records[middle - 1] == other.records[middle - 1]:
                low = middle
            else:
                high = middle - 1
        return low
