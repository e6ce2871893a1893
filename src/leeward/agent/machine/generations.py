"""Notice that the store went back, and replace its generation: the fence of a whole history.

In one history a key's revision only grows. So a snapshot that has a key at an older revision than this agent has seen,
or not at all, belongs to another history: a backup was restored, a disk was rolled back, or members forgot their
votes. etcd's cluster and member identity and its term say the same (``adapters.etcd.quorum``), and the restore
procedure writes a new generation itself.

Always true: an agent that noticed gives up its lease and forgets every transaction under way; it asks for a new
generation until the store has one that it did not know before.
"""

from leeward.agent.machine import actions as do
from leeward.agent.machine.outbox import RETRY_S, Outbox
from leeward.agent.machine.store import StoreCopy
from leeward.core import keys
from leeward.core.actions import Note
from leeward.core.codec import encode
from leeward.core.values import Generation
from leeward.ports.quorum import Compare, Outcome, Put, Snapshot


class Generations:
    """One agent's knowledge of the store's histories."""

    def __init__(self, fleet: str, incarnation: str, store: StoreCopy, out: Outbox) -> None:
        self._key = keys.generation(fleet)
        self._incarnation = incarnation
        self._store = store
        self._out = out
        self._known: set[str] = set()
        self._replaced: str | None = None
        """Why the history in force needs a new generation; None while it has one of its own."""
        self._renewals = 0
        self._renewing: int | None = None
        self._renew_after_s = 0.0
        self._rereading = False

    @property
    def pending(self) -> bool:
        """Whether the store went back and has no new generation yet, or must be read again."""
        return self._replaced is not None or self._rereading

    def went_back(self, snapshot: Snapshot, replaced: str | None) -> str | None:
        """Return why a snapshot is of another history than this agent's copy; None when it is not.

        ``replaced``: what the connection to the store noticed.
        """
        store, found = self._store, snapshot.entries.get(self._key)
        generation = store.identity_of(found.value) if found is not None else ""
        because = replaced
        if store.revision:
            newer = store.newer_than(snapshot)
            if because is None and generation != store.generation:
                because = f"its generation was {store.generation or 'the first'} and is {generation or 'the first'}"
            elif because is None and newer is not None:
                because = f"{newer} is older than it was"
        self._rereading = False
        if because is not None:
            self._replaced = because if generation in self._known else None
            self._renewing = None
        self._known.add(generation)
        return because

    def changed(self, before: str) -> None:
        """The watch brought another generation: what was read before may be of another history."""
        self._known.add(before)
        self._replaced = None
        if not self._rereading:
            self._rereading = True
            self._out.actions.append(do.ReadStore())

    def renew(self, because: str | None = None) -> None:
        """Ask for a new generation, because the store went back or a decision requires it."""
        because = because or self._replaced
        if because is None or self._renewing is not None:
            return
        if self._out.now_s < self._renew_after_s:
            self._out.wake_by(self._renew_after_s)
            return
        self._renewals += 1
        identity = f"{self._incarnation}-{self._renewals}-{int(self._out.unix_s)}"
        generation = Generation(identity, because, self._out.unix_s)
        note = Note(
            "StoreRestored", f"the quorum store went back: {because}; every application elects its primary again"
        )
        self._renewing = self._out.transact(
            (Compare(self._key, self._store.generation_revision),),
            (Put(self._key, encode(generation)), self._out.record(None, 0, note)),
        )

    def ended(self, transaction: int, outcome: Outcome | None) -> None:
        """Take in how a transaction ended, whichever part sent it."""
        if transaction == self._renewing:
            self._renewing = None
            self._renew_after_s = self._out.now_s + RETRY_S
