"""The decision log's upkeep: what no proposal carries is told there until the store has it, and it stays bounded."""

from leeward.agent.application import Application
from leeward.agent.outbox import RETRY_S, Outbox
from leeward.agent.store import StoreCopy
from leeward.core import rejoin
from leeward.core.actions import Note
from leeward.core.values import App, Region
from leeward.ports.quorum import Delete, Put

DECISIONS_KEPT = 500
DECISIONS_TRIMMED_AT_ONCE = 100


class Journal:
    """One agent's own entries in the log. What went unanswered is told again under the same key: never twice."""

    def __init__(self, me: Region, store: StoreCopy, out: Outbox) -> None:
        self._me = me
        self._store = store
        self._out = out
        self._telling: dict[int, Put] = {}
        self._untold: list[Put] = []
        self._retell_at_s = 0.0
        self._trimming: int | None = None

    def tell(self, app: App, epoch: int, note: Note) -> None:
        """Put a note into the log."""
        self._send(self._out.record(app, epoch, note))

    def _send(self, put: Put) -> None:
        self._telling[self._out.transact((), (put,))] = put

    def retell(self) -> None:
        """Tell again what the store did not answer to, unless it turned up in the log."""
        if not self._untold:
            return
        if self._out.now_s < self._retell_at_s:
            self._out.wake_by(self._retell_at_s)
            return
        untold, self._untold = self._untold, []
        for put in untold:
            if put.key not in self._store.decision_keys:
                self._send(put)

    def tell_rejoin(self, app: Application) -> None:
        """Put into the log how our replica came back; the instance repeats it, also to the next agent."""
        rejoined = app.instance.rejoined if app.instance is not None else None
        name = app.settings.name
        if rejoined is None or rejoined == app.rejoin_told or name not in self._store.topologies:
            return
        app.rejoin_told = rejoined
        told = rejoin.note(self._me, rejoined)
        if all((known.epoch, known.because) != (rejoined.epoch, told.because) for _, known in self._store.records):
            self.tell(name, rejoined.epoch, told)

    def trim(self) -> None:
        """Keep the log bounded. Every agent may do it: a deletion repeated does no harm."""
        if len(self._store.decision_keys) <= DECISIONS_KEPT or self._trimming is not None:
            return
        oldest = list(self._store.decision_keys)[:DECISIONS_TRIMMED_AT_ONCE]
        self._trimming = self._out.transact((), tuple(Delete(key) for key in oldest))

    def ended(self, transaction: int, *, committed: bool) -> None:
        """Take in how a transaction ended, whosever it was."""
        if transaction == self._trimming:
            self._trimming = None
        put = self._telling.pop(transaction, None)
        if put is not None and not committed:
            self._untold.append(put)
            self._retell_at_s = self._out.now_s + RETRY_S
