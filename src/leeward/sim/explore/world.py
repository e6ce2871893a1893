"""The small fleet as a value, and what may happen next in it. Pure.

Time is discrete: one tick is one heartbeat, and in a tick every message between healthy parts arrives, in every order.
So a tick may only begin when nothing urgent is left; what is late is late because of a fault. Within a region, calls
between agent and instance take no time. Whatever else is a choice is a transition of its own: which transaction the
store takes next, whose watch is served, which instance takes its next step, when a client writes, when a fault begins
and ends.
"""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from leeward.core import keys
from leeward.core.codec import decode, encode
from leeward.core.values import Basis, Order, Region, Topology
from leeward.ports.quorum import Compare, Delete, Entry, Put, Snapshot

FLEET = "small"
Changed = tuple[int, tuple[tuple[str, str | None], ...]]
"""What one revision changed."""


class Store(NamedTuple):
    """The quorum store: what is in it, as of one revision."""

    revision: int = 1
    entries: tuple[tuple[str, str, int], ...] = ()
    """Key, value, and revision of the last change; sorted."""

    def revision_of(self, key: str) -> int:
        """Return when a key was changed last; 0 when it is not there."""
        return next((revision for name, _, revision in self.entries if name == key), 0)

    def value_of(self, key: str) -> str | None:
        """Return what is under a key."""
        return next((value for name, value, _ in self.entries if name == key), None)

    def snapshot(self) -> Snapshot:
        """Return all of it."""
        return Snapshot(self.revision, {key: Entry(value, revision) for key, value, revision in self.entries})


class Flight(NamedTuple):
    """A transaction on its way."""

    region: Region
    number: int
    compares: tuple[Compare, ...]
    changes: tuple[Put | Delete, ...]
    sent_tick: int
    slow: bool = False
    """It may stay on its way over ticks, and so may its answer."""
    outcome: tuple[bool, int] | None = None
    """What the store said, while the answer is on its way."""
    answered: bool = True
    """Whether the agent that sent it waits for the answer."""


class Held(NamedTuple):
    """An order on its way to an instance."""

    region: Region
    order: Order
    basis: Basis


class Acknowledged(NamedTuple):
    """A write that a client knows to be committed."""

    epoch: int
    write: int
    strict: bool
    """It was promised never to be lost."""


class Faults(NamedTuple):
    """What is wrong now."""

    down: frozenset[Region] = frozenset()
    """Regions that are dead."""
    isolated: Region | None = None
    """Cut off from the other regions."""
    stalled: Region | None = None
    """Its watch brings nothing."""
    slow: Region | None = None
    """Its transactions and their answers take ticks."""
    lagging: Region | None = None
    """Its instance receives no WAL."""
    hanging: Region | None = None
    """The steps of its instance take ticks."""
    busy: Region | None = None
    """Its checkpointer loads no configuration."""
    late: Region | None = None
    """The next order to its instance hangs."""

    def linked(self, one: Region, other: Region) -> bool:
        """Whether two regions reach each other."""
        return one == other or not ({one, other} & self.down or self.isolated in (one, other))

    @property
    def any(self) -> bool:
        """Whether anything is wrong."""
        return self != Faults()


class Budget(NamedTuple):
    """What may still happen."""

    faults: int = 0
    requests: int = 0
    """Of an operator."""
    writes: int = 0


class World(NamedTuple):
    """Everything, at one moment."""

    tick: int
    behind: tuple[int, ...]
    """By how many ticks each region's clock is behind."""
    agents: tuple[int | None, ...]
    """State of each agent; None while it does not run."""
    lives: tuple[int, ...]
    store: Store
    pending: tuple[tuple[Changed, ...], ...]
    """What each region's watch has not brought yet."""
    flights: tuple[Flight, ...]
    instances: tuple[int, ...]
    """The number of each."""
    held: tuple[Held, ...]
    """Orders that hang."""
    faults: Faults
    budget: Budget
    acknowledged: tuple[Acknowledged, ...] = ()
    writers: tuple[tuple[int, Region], ...] = ()
    """Who acknowledged under each epoch."""


def put(store: Store, compares: tuple[Compare, ...], changes: tuple[Put | Delete, ...]) -> tuple[Store, Changed | None]:
    """Run a transaction; None as change: its conditions do not hold, or nothing of this model changes."""
    if any(store.revision_of(compare.key) != compare.revision for compare in compares):
        return store, None
    revision = store.revision + 1
    kept = {key: (value, at) for key, value, at in store.entries}
    changed: dict[str, str | None] = {}
    for change in changes:
        # The decision log is written for people, and decides nothing.
        if change.key.startswith(keys.decisions(FLEET)):
            continue
        if isinstance(change, Delete):
            kept.pop(change.key, None)
            changed[change.key] = None
        else:
            value = _plain(change.key, change.value)
            kept[change.key] = (value, revision)
            changed[change.key] = value
    if not changed:
        return store, None
    entries = tuple((key, *kept[key]) for key in sorted(kept))
    return Store(revision, entries), (revision, tuple(changed.items()))


@lru_cache(maxsize=4096)
def _plain(key: str, value: str) -> str:
    """Return a value without the sentence that explains it."""
    if not key.endswith("/topology"):
        return value
    return encode(replace(decode(Topology, value), because=""))
