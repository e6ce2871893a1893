"""When a primary acknowledges a commit: what PostgreSQL's backends, WAL senders and checkpointer each go by.

Whether a commit waits at all is a flag in shared memory that the *checkpointer* sets when it reloads
(``SyncRepUpdateSyncStandbysDefined``). Which standbys release it is known to the WAL senders at once. A checkpointer
that is busy therefore leaves the old flag in force, whatever every session's own setting says.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from leeward.core.values import Region, Synchronous, SynchronousMethod


class Flushes(Protocol):
    """A standby that streams, by what it says."""

    flushed: int | None
    """As far as it says; None before it said anything."""


@dataclass(slots=True)
class Pending:
    """A commit that waits for acknowledgements."""

    lsn: int
    answer: Callable[[], None]


class Commits:
    """The commits of one server that wait."""

    def __init__(self, receivers: Mapping[Region, Flushes]) -> None:
        self.names: Synchronous | None = None
        """Who must acknowledge, as it is configured."""
        self.waits = False
        """The flag in force: commits wait."""
        self.checkpoints = 0
        """How many things keep the checkpointer busy."""
        self._receivers = receivers
        self._loaded = True
        self._released_lsn = 0
        """Commits up to here were acknowledged by enough standbys, or so they said; it is never taken back."""
        self._pending: list[Pending] = []

    def begin(self) -> None:
        """The server starts: its checkpointer loads the configuration before any session begins."""
        self._loaded = False

    def end(self) -> None:
        """The server ended: what waited gets no answer."""
        self._pending.clear()
        self._released_lsn = 0

    def drop(self) -> None:
        """Every session ended."""
        self._pending.clear()

    def configure(self, names: Synchronous | None) -> None:
        """Change who must acknowledge. The checkpointer follows once it is free."""
        self.names = names
        if not self.checkpoints or not self._loaded:
            self._load()
        else:
            self.release()

    def occupy(self) -> None:
        """Give the checkpointer something to do that takes time."""
        self.checkpoints += 1

    def free(self) -> None:
        """Let that end."""
        self.checkpoints -= 1
        if not self.checkpoints:
            self._load()

    def _load(self) -> None:
        self._loaded, self.waits = True, self.names is not None
        self.release()

    def wait(self, lsn: int, answer: Callable[[], None]) -> None:
        """Answer once the commit is acknowledged as is in force."""
        if not self.waits:
            answer()
        else:
            self._pending.append(Pending(lsn, answer))
            self.release()

    def release(self) -> None:
        """Answer whatever is acknowledged by now."""
        if not self._pending:
            return
        if not self.waits:
            reached = self._pending[-1].lsn
        elif self.names is None:
            # No WAL sender releases anything; the checkpointer will.
            return
        else:
            reached = self._released_lsn = max(self._released_lsn, self._acknowledged(self.names))
        ready = [pending for pending in self._pending if pending.lsn <= reached]
        if ready:
            self._pending = [pending for pending in self._pending if pending.lsn > reached]
            for pending in ready:
                pending.answer()

    def _acknowledged(self, names: Synchronous) -> int:
        """Return the LSN up to which enough standbys have flushed."""
        known = (self._receivers[region].flushed for region in names.members if region in self._receivers)
        flushed = [lsn for lsn in known if lsn is not None]
        if len(flushed) < names.required:
            return 0
        if names.method is SynchronousMethod.FIRST:
            return min(flushed[: names.required])
        return sorted(flushed, reverse=True)[names.required - 1]
