"""The decision log's upkeep: what is told there once, and that it stays bounded."""

from leeward.agent.application import Application
from leeward.agent.outbox import Outbox
from leeward.agent.store import StoreCopy
from leeward.core import rejoin
from leeward.core.values import Region
from leeward.ports.quorum import Delete

DECISIONS_KEPT = 500
DECISIONS_TRIMMED_AT_ONCE = 100


class Journal:
    """Writes what no proposal carries into the log."""

    def __init__(self, me: Region, store: StoreCopy, out: Outbox) -> None:
        self._me = me
        self._store = store
        self._out = out
        self._trimming: int | None = None

    def tell_rejoin(self, app: Application) -> None:
        """Put into the log how our replica came back; the instance repeats it, also to the next agent."""
        rejoined = app.instance.rejoined if app.instance is not None else None
        stored = self._store.topologies.get(app.settings.name)
        if rejoined is None or rejoined == app.rejoin_told or stored is None or app.telling_rejoin is not None:
            return
        told = rejoin.note(self._me, rejoined)
        if any((known.epoch, known.because) == (rejoined.epoch, told.because) for _, known in self._store.records):
            app.rejoin_told = rejoined
            return
        number = self._out.transact((), (self._out.record(app.settings.name, rejoined.epoch, told),))
        app.telling_rejoin = (number, rejoined)

    def trim(self) -> None:
        """Keep the log bounded. Every agent may do it: a deletion repeated does no harm."""
        if len(self._store.decision_keys) <= DECISIONS_KEPT or self._trimming is not None:
            return
        oldest = list(self._store.decision_keys)[:DECISIONS_TRIMMED_AT_ONCE]
        self._trimming = self._out.transact((), tuple(Delete(key) for key in oldest))

    def ended(self, app: Application, transaction: int, *, committed: bool) -> None:
        """Take in how a transaction about an application ended."""
        if app.telling_rejoin is not None and app.telling_rejoin[0] == transaction:
            # Without an answer it is told again, unless it turns up in the log.
            app.rejoin_told = app.telling_rejoin[1] if committed else app.rejoin_told
            app.telling_rejoin = None

    def trimmed(self, transaction: int) -> None:
        """Take in that a transaction has ended, in case it trimmed the log."""
        if transaction == self._trimming:
            self._trimming = None
