"""The region's heartbeat: one transaction through the quorum store, which is also what its lease rests on."""

from collections.abc import Iterable, Mapping

from leeward.agent.machine import actions as do
from leeward.agent.machine.outbox import Outbox
from leeward.agent.machine.store import StoreCopy
from leeward.core import keys
from leeward.core.codec import encode
from leeward.core.settings import AgentSettings
from leeward.core.values import App, Heartbeat, InstanceReport, Region, Vantage
from leeward.core.view import Fence
from leeward.ports.quorum import Compare, Put

# Heartbeats that may be on their way at once: the store may stall for an election of its own.
IN_FLIGHT = 6


class Heartbeats:
    """Beats, and probes the other regions at the same pace."""

    def __init__(self, settings: AgentSettings, incarnation: str, store: StoreCopy, out: Outbox) -> None:
        self.beat_at_s = 0.0
        self._me = settings.region
        self._timers = settings.timers
        self._incarnation = incarnation
        self._store = store
        self._out = out
        self._key = keys.heartbeat(settings.fleet, self._me)
        self._fence_key = keys.fence(settings.fleet, self._me)
        self._generation_key = keys.generation(settings.fleet)
        self._probes = tuple(
            do.Probe(region.name, self._timers.probe_timeout_s)
            for region in settings.regions
            if region.name != self._me
        )
        self._probing: set[Region] = set()
        self._sequence = 0
        self._beats: dict[int, float] = {}

    def probe(self) -> None:
        """Ask every other region that has answered since whether it serves."""
        self.beat_at_s = self._out.now_s + self._timers.heartbeat_s
        for probe in self._probes:
            if probe.region not in self._probing:
                self._probing.add(probe.region)
                self._out.actions.append(probe)

    def probed(self, region: Region) -> None:
        """Note that a probe has ended."""
        self._probing.discard(region)

    @property
    def saturated(self) -> bool:
        """Whether as many heartbeats are on their way as may be."""
        return len(self._beats) >= IN_FLIGHT

    def beat(
        self,
        vantages: Mapping[Region, Vantage],
        apps: Mapping[App, InstanceReport],
        gateway_problem: str | None = None,
        records: Iterable[Put] = (),
    ) -> None:
        """Send one heartbeat, and ``records`` with it; only under the fence and the generation this agent knows."""
        self._sequence += 1
        fence = self._store.fences.get(self._me, Fence())
        heartbeat = Heartbeat(
            region=self._me,
            incarnation=self._incarnation,
            sequence=self._sequence,
            fence=fence.value,
            vantages=dict(vantages),
            apps=dict(apps),
            gateway_problem=gateway_problem,
        )
        number = self._out.transact(
            (
                Compare(self._fence_key, fence.revision),
                Compare(self._generation_key, self._store.generation_revision),
            ),
            (Put(self._key, encode(heartbeat)), *records),
        )
        self._beats[number] = self._out.now_s

    def forget(self) -> None:
        """Take no lease from heartbeats on their way: they may commit in a history that was replaced."""
        self._beats.clear()

    def is_beat(self, transaction: int) -> bool:
        """Whether a transaction is a heartbeat on its way."""
        return transaction in self._beats

    def ended(self, transaction: int) -> float | None:
        """Return when a heartbeat that has ended was sent (the boot clock); None if it was not a heartbeat."""
        return self._beats.pop(transaction, None)

    @property
    def heard(self) -> bool:
        """Whether our heartbeats arrive, late as they may be: then no other region finds that we are lost."""
        seen = self._store.seen.get(self._me)
        return seen is not None and self._out.now_s < seen.at_s + self._timers.lease_s
