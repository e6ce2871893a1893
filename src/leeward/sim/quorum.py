"""The quorum store in memory: the same semantics as etcd's, without time, chance or I/O.

``MemoryStore`` is what the majority agrees on; ``MemoryQuorum`` is one region's access to it, with its own
reach. Watchers are woken in the order in which they began to wait, so a run is the same every time.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from enum import StrEnum

from leeward.ports.quorum import (
    Change,
    CompactedError,
    Compare,
    Delete,
    Entry,
    Membership,
    Outcome,
    Put,
    QuorumUnavailableError,
    Snapshot,
)


class Reach(StrEnum):
    """How a region's requests fare."""

    FULL = "full"
    CUT = "cut"
    """Nothing arrives; watches stay silent, and catch up once it is over."""
    DEAF = "deaf"
    """Requests arrive and take effect, answers are lost; watches stay silent."""


class MemoryStore:
    """Keys, values and every revision since the last compaction."""

    def __init__(self, members: Sequence[str]) -> None:
        self.members = tuple(members)
        self.leader: str | None = self.members[0]
        self.revision = 1  # as in an empty etcd
        self.compacted = 0
        self._entries: dict[str, Entry] = {}
        self._history: list[Change] = []
        self._waiting: list[asyncio.Future[None]] = []

    def member(self, name: str) -> "MemoryQuorum":
        """Return the region's access to the store."""
        if name not in self.members:
            raise ValueError(f"{name} is not a member; members are {', '.join(self.members)}")
        return MemoryQuorum(self, name)

    def entries(self, prefix: str) -> Mapping[str, Entry]:
        """Return what is under the prefix, ordered by key."""
        return {key: self._entries[key] for key in sorted(self._entries) if key.startswith(prefix)}

    def transact(self, compares: Sequence[Compare], changes: Sequence[Put | Delete]) -> Outcome:
        """Apply all changes as one revision if all conditions hold. ValueError: a key appears twice."""
        keys = [change.key for change in changes]
        if len(set(keys)) < len(keys):
            raise ValueError("a transaction changes a key twice")
        for compare in compares:
            entry = self._entries.get(compare.key)
            if (entry.revision if entry else 0) != compare.revision:
                return Outcome(False, self.revision)
        effects: dict[str, str | None] = {}
        for change in changes:
            if isinstance(change, Put):
                effects[change.key] = change.value
            elif change.key in self._entries:
                effects[change.key] = None
        if effects:
            self._commit(effects)
        return Outcome(True, self.revision)

    def _commit(self, effects: Mapping[str, str | None]) -> None:
        self.revision += 1
        for key, value in effects.items():
            if value is None:
                del self._entries[key]
            else:
                self._entries[key] = Entry(value, self.revision)
        self._history.append(Change(self.revision, effects))
        self.wake()

    def changes(self, prefix: str, after: int) -> Iterator[Change]:
        """Yield the history after a revision, as far as it touches the prefix. Raises CompactedError."""
        if after < self.compacted:
            raise CompactedError(f"history begins at revision {self.compacted}, asked after {after}")
        # Revisions are consecutive, so the first one wanted has a known place.
        start = max(0, after + 1 - self._history[0].revision) if self._history else 0
        for change in self._history[start:]:
            under = {key: value for key, value in change.entries.items() if key.startswith(prefix)}
            if under:
                yield Change(change.revision, under)

    def compact(self, revision: int) -> None:
        """Forget the history before ``revision``."""
        if not self.compacted < revision <= self.revision:
            raise ValueError(f"cannot compact at {revision}: compacted {self.compacted}, now {self.revision}")
        self.compacted = revision
        self._history = [change for change in self._history if change.revision >= revision]
        self.wake()

    async def changed(self) -> None:
        """Return after the next change of anything: a revision, the history, or a region's reach."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def wake(self) -> None:
        """Let every watcher look again."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


class MemoryQuorum:
    """``leeward.ports.quorum.Quorum`` in memory. Deadlines never pass: an answer comes at once or not."""

    def __init__(self, store: MemoryStore, name: str) -> None:
        self._store = store
        self._name = name
        self._reach = Reach.FULL

    @property
    def reach(self) -> Reach:
        """How this region's requests fare now."""
        return self._reach

    @reach.setter
    def reach(self, reach: Reach) -> None:
        self._reach = reach
        self._store.wake()

    async def snapshot(self, prefix: str, *, timeout_s: float) -> Snapshot:
        """Return a linearizable snapshot. Raises QuorumUnavailableError."""
        self._answer(timeout_s)
        return Snapshot(self._store.revision, self._store.entries(prefix))

    async def transact(
        self, compares: tuple[Compare, ...], changes: tuple[Put | Delete, ...], *, timeout_s: float
    ) -> Outcome:
        """Apply all changes if all conditions hold, as one revision. QuorumUnavailableError: unknown.

        ValueError: a key appears twice among the changes.
        """
        if self._reach is Reach.CUT:
            self._answer(timeout_s)
        outcome = self._store.transact(compares, changes)
        self._answer(timeout_s)
        return outcome

    async def watch(self, prefix: str, *, after: int) -> AsyncIterator[Change]:
        """Yield every revision after ``after`` that touches the prefix, in order, each exactly once.

        An empty change follows whenever only other prefixes changed. Raises CompactedError.
        """
        seen = after
        while True:
            change = self._next(prefix, seen)
            if change is None:
                await self._store.changed()
            else:
                seen = change.revision
                yield change

    def _next(self, prefix: str, seen: int) -> Change | None:
        if self._reach is not Reach.FULL:
            return None
        change = next(self._store.changes(prefix, seen), None)
        if change is None and self._store.revision > seen:
            return Change(self._store.revision, {})
        return change

    async def membership(self, *, timeout_s: float) -> Membership:
        """Return the members and who leads; a region that is cut off knows no leader."""
        leader = self._store.leader if self._reach is Reach.FULL else None
        return Membership(tuple(sorted(self._store.members)), leader)

    async def move_leader(self, to: str, *, timeout_s: float) -> None:
        """Hand over leadership; nothing happens when this member does not lead. ValueError: no such member."""
        if to not in self._store.members:
            raise ValueError(f"{to} is not a member; members are {', '.join(sorted(self._store.members))}")
        if self._reach is Reach.FULL and self._store.leader == self._name:
            self._store.leader = to

    def _answer(self, timeout_s: float) -> None:
        if self._reach is not Reach.FULL:
            raise QuorumUnavailableError(f"{self._name}: no answer within {timeout_s:g} s ({self._reach})")
