"""Write-ahead logs as lists: a record's index is its LSN, and it knows the epoch it was written under."""

from dataclasses import dataclass

from leeward.core.quick import quick
from leeward.core.values import WalPosition


@quick
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
        for record in lost:
            if record.key is not None and self._lsn_of.get(record.key, 0) > lsn:
                del self._lsn_of[record.key]
        return lost

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
