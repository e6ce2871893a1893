"""Where the quorum store's leader should be, asked for by the region that has it."""

from collections.abc import Mapping

from leeward.agent.machine import actions as do
from leeward.agent.machine.outbox import Outbox
from leeward.agent.machine.store import StoreCopy
from leeward.core import leadership, routing
from leeward.core.settings import AgentSettings
from leeward.core.values import Phase, Region

# Leadership of the store moves at most this often, and only when nothing else moves.
HOLD_DOWN_S = 3.0


class Placement:
    """Hands the leadership over when another region should have it (``core.leadership`` explains why)."""

    def __init__(self, settings: AgentSettings, store: StoreCopy, out: Outbox) -> None:
        self.leader: Region | None = None
        self._me = settings.region
        self._store = store
        self._out = out
        self._moved_at_s = 0.0
        first = settings.apps[0].data_regions if settings.apps else ()
        self._preferred = (*first, *(each.name for each in settings.regions if each.name not in first))

    def place(self, health: Mapping[Region, routing.Health]) -> None:
        """Hand over when this region leads, another one would be better, and all is calm."""
        if self.leader != self._me:
            return
        now_s, topologies = self._out.now_s, self._store.topologies.values()
        quiet_since_s = max((stored.seen_at_s for stored in topologies), default=now_s)
        phases = {stored.topology.phase for stored in topologies}
        hold_until_s = max(quiet_since_s, self._moved_at_s) + HOLD_DOWN_S
        if phases != {Phase.STEADY} or now_s < hold_until_s:
            return
        primaries = {stored.topology.primary for stored in topologies if stored.topology.primary}
        serving = {region for region, looks in health.items() if looks.serving}
        fit = serving & leadership.reaching(primaries, self._store.seen)
        to = leadership.move_to(self.leader, self._me, primaries, fit, self._preferred)
        if to is not None:
            self._moved_at_s = now_s
            self._out.actions.append(do.MoveLeader(to))
