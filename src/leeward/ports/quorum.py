"""The quorum store: a small key-value store agreed on by a majority of regions (etcd).

Keys and values are text. Every change has a revision; a snapshot and the changes after it, in order,
give the same view to everyone.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from leeward.core.fast_frozen import fast_frozen


class QuorumUnavailableError(Exception):
    """The store did not answer in time; whether a transaction took effect is unknown."""


class StoreReplacedError(Exception):
    """The store is not the one that was watched: an older state took its place. Take a new snapshot."""


class CompactedError(Exception):
    """The revision to watch from is gone: take a new snapshot."""


@fast_frozen
@dataclass(frozen=True, slots=True)
class Entry:
    """A key's value and the revision of its last change."""

    value: str
    revision: int


@fast_frozen
@dataclass(frozen=True, slots=True)
class Compare:
    """A condition of a transaction: the key is unchanged since ``revision`` (0: it does not exist)."""

    key: str
    revision: int


@fast_frozen
@dataclass(frozen=True, slots=True)
class Put:
    """Set a key."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a key; no harm when it is not there."""

    key: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything under a prefix, as of one revision."""

    revision: int
    entries: Mapping[str, Entry]


@fast_frozen
@dataclass(frozen=True, slots=True)
class Change:
    """All that one revision changed under a prefix; a value of None is a deletion. Empty: progress only."""

    revision: int
    entries: Mapping[str, str | None]


@fast_frozen
@dataclass(frozen=True, slots=True)
class Outcome:
    """How a transaction ended: whether its conditions held, and the store's revision."""

    succeeded: bool
    revision: int


@dataclass(frozen=True, slots=True)
class Membership:
    """Who takes part in the quorum: names are region names."""

    members: tuple[str, ...]
    leader: str | None


class Quorum(Protocol):
    """Snapshot, watch, and compare-and-swap. Any call may be repeated; every call has a deadline."""

    async def snapshot(self, prefix: str, *, timeout_s: float) -> Snapshot:
        """Return a linearizable snapshot. Raises QuorumUnavailableError."""
        ...

    def watch(self, prefix: str, *, after: int) -> AsyncIterator[Change]:
        """Yield every revision after ``after`` that touches the prefix, in order, each exactly once.

        Survives the death of a member (it goes on from where it was). Raises CompactedError when it cannot, and
        StoreReplacedError when the store went back.
        """
        ...

    async def transact(
        self, compares: tuple[Compare, ...], changes: tuple[Put | Delete, ...], *, timeout_s: float
    ) -> Outcome:
        """Apply all changes if all conditions hold, as one revision. QuorumUnavailableError: unknown."""
        ...

    async def membership(self, *, timeout_s: float) -> Membership:
        """Return the members and who leads, as the local member sees it."""
        ...

    async def move_leader(self, to: str, *, timeout_s: float) -> None:
        """Ask the leader to hand over; the request may have no effect. Works only when the local member leads.

        Raises QuorumUnavailableError; ValueError when ``to`` is not a member (one that is being replaced is not).
        """
        ...
