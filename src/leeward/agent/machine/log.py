"""The decision log: retries entries that no proposal carries until the store has them, and keeps it bounded."""

from leeward.agent.machine.application import Application
from leeward.agent.machine.outbox import RETRY_S, Outbox
from leeward.agent.machine.store import StoreCopy
from leeward.core import rejoin
from leeward.core.actions import Note
from leeward.core.values import App, Region
from leeward.ports.quorum import Delete, Put

DECISIONS_KEPT = 500
DECISIONS_TRIMMED_AT_ONCE = 100


class DecisionLog:
    """One agent's own entries in the log. What went unanswered is retried under the same key: never written twice."""

    def __init__(self, me: Region, store: StoreCopy, out: Outbox) -> None:
        self._me = me
        self._store = store
        self._out = out
        self._pending: dict[int, Put] = {}
        self._unwritten: list[Put] = []
        self._retry_at_s = 0.0
        self._trimming: int | None = None

    def record(self, app: App, epoch: int, note: Note) -> None:
        """Put a note into the log."""
        self._send(self._out.record(app, epoch, note))

    def _send(self, put: Put) -> None:
        self._pending[self._out.transact((), (put,))] = put

    def retry(self) -> None:
        """Send again what the store did not answer to, unless the log has it by now."""
        if not self._unwritten:
            return
        if self._out.now_s < self._retry_at_s:
            self._out.wake_by(self._retry_at_s)
            return
        unwritten, self._unwritten = self._unwritten, []
        for put in unwritten:
            if put.key not in self._store.decision_keys:
                self._send(put)

    def record_rejoin(self, app: Application) -> None:
        """Put into the log how our replica came back; the instance repeats it, also to the next agent."""
        rejoined = app.instance.rejoined if app.instance is not None else None
        name = app.settings.name
        if rejoined is None or rejoined == app.rejoin_recorded or name not in self._store.topologies:
            return
        app.rejoin_recorded = rejoined
        note = rejoin.note(self._me, rejoined)
        if all((known.epoch, known.because) != (rejoined.epoch, note.because) for _, known in self._store.records):
            self.record(name, rejoined.epoch, note)

    def trim(self) -> None:
        """Keep the log bounded. Every agent may do it: a deletion repeated does no harm."""
        if len(self._store.decision_keys) <= DECISIONS_KEPT or self._trimming is not None:
            return
        oldest = list(self._store.decision_keys)[:DECISIONS_TRIMMED_AT_ONCE]
        self._trimming = self._out.transact((), tuple(Delete(key) for key in oldest))

    def ended(self, transaction: int, *, committed: bool) -> None:
        """Note how a transaction ended, also one of another part."""
        if transaction == self._trimming:
            self._trimming = None
        put = self._pending.pop(transaction, None)
        if put is not None and not committed:
            self._unwritten.append(put)
            self._retry_at_s = self._out.now_s + RETRY_S
