"""What this region's files name as data regions, for the other agents; and what a majority of the regions name.

Always true: what is in the store is what an agent of that region read last. It outlives the agent, so a region that is
lost still counts with its last declaration.
"""

from leeward.agent.machine.outbox import RETRY_S, Outbox
from leeward.agent.machine.store import StoreCopy
from leeward.core import data_regions, keys
from leeward.core.codec import encode
from leeward.core.settings import AgentSettings
from leeward.core.values import App, Declared, Region
from leeward.ports.quorum import Put


class Declaration:
    """Keeps this region's declaration in the store, and reads those of all."""

    def __init__(self, settings: AgentSettings, store: StoreCopy, out: Outbox) -> None:
        self._me = settings.region
        self._regions = tuple(region.name for region in settings.regions)
        self._store = store
        self._out = out
        self._declared = Declared({app.name: app.data_regions for app in settings.apps})
        self._put = Put(keys.declared(settings.fleet, self._me), encode(self._declared))
        self._writing: int | None = None
        self._write_after_s = 0.0

    def declare(self) -> None:
        """Write the declaration, unless it is there."""
        if self._store.declared.get(self._me) == self._declared or self._writing is not None:
            return
        if self._out.now_s < self._write_after_s:
            self._out.wake_by(self._write_after_s)
            return
        self._writing = self._out.transact((), (self._put,))

    def ended(self, transaction: int) -> None:
        """Take in that a transaction has ended, whichever part sent it."""
        if transaction == self._writing:
            self._writing = None
            # The watch brings what was written a moment later.
            self._write_after_s = self._out.now_s + RETRY_S

    def agreed(self, app: App) -> tuple[Region, ...] | None:
        """Return the data regions of an application that a majority of the regions names; None without one."""
        declared = self._store.declared
        return data_regions.agreed({region: each.apps.get(app) for region, each in declared.items()}, self._regions)
