"""Keep a histogram of how long the other regions fall silent: in memory, and now and then in the store.

Only what this agent surely saw counts: not the silence of all others while it stood still itself.
"""

from leeward.agent.machine.outbox import Outbox
from leeward.agent.machine.store import StoreCopy
from leeward.core import keys
from leeward.core.codec import encode
from leeward.core.delays import BUCKETS, Delays, Silences, bucket
from leeward.core.settings import AgentSettings
from leeward.core.values import Region
from leeward.core.view import Seen
from leeward.ports.quorum import Put

WRITE_EVERY_S = 600.0
# An agent that looks at nothing for so many heartbeats stood still itself.
STILL_HEARTBEATS = 4


class DelayLog:
    """This agent's histogram; it goes on with what the agent before it left in the store."""

    def __init__(self, settings: AgentSettings, store: StoreCopy, out: Outbox) -> None:
        self._counts: dict[Region, list[int]] = {}
        self._observed_s: dict[Region, float] = {}
        self._me = settings.region
        self._key = keys.delays(settings.fleet, self._me)
        self._still_s = STILL_HEARTBEATS * settings.timers.heartbeat_s
        self._store = store
        self._out = out
        self._looked_at_s = 0.0
        self._blind_until_s = 0.0
        self._write_at_s = 0.0
        self._continued = False

    def look(self) -> None:
        """Note that the agent looks at something now."""
        if self._out.now_s - self._looked_at_s > self._still_s:
            self._blind_until_s = self._out.now_s
        self._looked_at_s = self._out.now_s

    def continue_from_store(self) -> None:
        """Go on with what was kept, once the store is known."""
        if self._continued:
            return
        self._continued = True
        self._write_at_s = self._out.now_s + WRITE_EVERY_S
        kept = self._store.delays.get(self._me)
        if kept is not None and kept.current:
            self._counts = {region: list(each.counts) for region, each in kept.regions.items()}
            self._observed_s = {region: each.observed_s for region, each in kept.regions.items()}

    def seen(self, region: Region, before: Seen | None, after: Seen | None) -> None:
        """Count the silence between two heartbeats of a region."""
        if region == self._me or before is None or after is None or before.revision == after.revision:
            return
        same = before.heartbeat.incarnation == after.heartbeat.incarnation
        if same and before.at_s > self._blind_until_s:
            silent_s = after.at_s - before.at_s
            self._counts.setdefault(region, [0] * BUCKETS)[bucket(silent_s)] += 1
            self._observed_s[region] = self._observed_s.get(region, 0.0) + silent_s

    @property
    def delays(self) -> Delays:
        """What was seen so far."""
        return Delays(
            {region: Silences(tuple(each), self._observed_s[region]) for region, each in self._counts.items()}
        )

    def write(self) -> None:
        """Keep it in the store, every so often."""
        if self._out.now_s >= self._write_at_s:
            self._write_at_s = self._out.now_s + WRITE_EVERY_S
            self._out.transact((), (Put(self._key, encode(self.delays)),))
