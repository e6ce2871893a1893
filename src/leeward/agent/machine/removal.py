"""What a removed application leaves in the quorum store, taken away once no region's files name it.

Its last epoch stays: volumes outlive the application, and when it is added again, a later epoch must open.

Always true: nothing is removed while one region's files name the application, or while one region's word is unknown,
and nothing before a grace period in which a mistake in the files can be undone. Data volumes are never touched.
An agent with old files cannot bring the application back: that takes a majority of the regions (``failover``).
"""

from leeward.agent.machine.outbox import RETRY_S, Outbox
from leeward.agent.machine.store import StoreCopy, StoredTopology
from leeward.core import keys
from leeward.core.actions import Note
from leeward.core.codec import encode
from leeward.core.settings import AgentSettings
from leeward.core.values import App, Removed
from leeward.ports.quorum import Compare, Delete, Put

REMOVED = "ApplicationRemoved"
# Files that were changed by mistake can be put right for so long.
GRACE_S = 600.0


class Removal:
    """Watches for applications that no file names; every agent may remove one, and one of them does."""

    def __init__(self, settings: AgentSettings, store: StoreCopy, out: Outbox) -> None:
        self._fleet = settings.fleet
        self._regions = tuple(region.name for region in settings.regions)
        self._store = store
        self._out = out
        self._unnamed_since_s: dict[App, float] = {}
        self._removing: int | None = None
        self._retry_at_s = 0.0

    def look(self) -> None:
        """Remove what has been named by no file for long enough."""
        unnamed = {app: stored for app, stored in self._store.topologies.items() if self._unnamed(app)}
        now_s = self._out.now_s
        self._unnamed_since_s = {app: self._unnamed_since_s.get(app, now_s) for app in unnamed}
        if self._removing is not None or now_s < self._retry_at_s:
            return
        for app, stored in unnamed.items():
            at_s = self._unnamed_since_s[app] + GRACE_S
            if now_s >= at_s:
                self._removing = self._remove(app, stored)
                return
            self._out.wake_by(at_s)

    def ended(self, transaction: int) -> None:
        """Take in that a transaction has ended, whichever part sent it."""
        if transaction == self._removing:
            self._removing = None
            self._retry_at_s = self._out.now_s + RETRY_S

    def _unnamed(self, app: App) -> bool:
        declared = self._store.declared
        return all(region in declared and app not in declared[region].apps for region in self._regions)

    def _remove(self, app: App, stored: StoredTopology) -> int:
        fleet, topology = self._fleet, stored.topology
        unchanged = (
            Compare(keys.generation(fleet), self._store.generation_revision),
            Compare(keys.topology(fleet, app), stored.revision),
            *(Compare(keys.declared(fleet, region), self._store.declared_at[region]) for region in self._regions),
        )
        promised = [region for name, region in self._store.promises if name == app]
        gone = (
            keys.topology(fleet, app),
            keys.drill(fleet, app),
            keys.progress(fleet, app),
            keys.accepted(fleet, app),
            keys.tally(fleet, app),
            *(keys.promise(fleet, app, region) for region in promised),
        )
        because = f"no region's files have named {app} for {GRACE_S:g} s; its data volumes are left as they are"
        record = self._out.record(app, topology.epoch, Note(REMOVED, because))
        left = Put(keys.removed(fleet, app), encode(Removed(topology.epoch)))
        return self._out.transact(unchanged, (*map(Delete, gone), left, record))
