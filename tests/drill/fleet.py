"""A small fake fleet of three behind the drill's Protocols: real sockets for clients, the rest simulated."""

import asyncio
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from leeward.core.values import (
    App,
    Heartbeat,
    InstanceReport,
    Phase,
    Record,
    Region,
    ReplicationMode,
    Role,
    Sender,
    Topology,
    WalPosition,
)
from leeward.drill.access import FleetUnavailableError, FleetView, RefusedError
from leeward.drill.measure import Moment
from leeward.ports.clock import SystemClock

from .builders import APP
from .conftest import Gateway, Mood

LEASE_S = 0.3
TICK_S = 0.01


class MiniFleet:
    """Elects another primary when the primary's region has been away for the lease, if a majority is there."""

    def __init__(self, gateways: Mapping[Region, Gateway], *, forgets: int = 0, nervous: bool = False) -> None:
        """``forgets`` acknowledged payments in a failover; ``nervous`` ones fail over at once."""
        self.gateways = gateways
        self.regions = tuple(gateways)
        self.clock = SystemClock()
        self.away: dict[Region, Mood] = {}
        self.slow: set[Region] = set()
        self.done: list[str] = []
        self.pods = {region: [f"{region}-1", f"{region}-2"] for region in self.regions}
        self.blocks_evictions = False
        """Every eviction is refused."""
        self.log: list[Record] = []
        self.topology = Topology(
            app=APP,
            epoch=1,
            phase=Phase.STEADY,
            primary=self.regions[0],
            data_regions=self.regions,
            mode=ReplicationMode.SYNC,
            acks_required=1,
            because="founded",
        )
        self._forgets = forgets
        # In looks of its own, not in seconds: what stands still with the whole process must not count as gone.
        self._patience = 0 if nervous else round(LEASE_S / TICK_S)
        self._missed = 0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="mini fleet")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    # -- faults -----------------------------------------------------------------------------------

    async def kill(self, region: str) -> Moment:
        return self._apply(f"kill {region}", Region(region), Mood.CUTS)

    async def freeze(self, region: str) -> Moment:
        return self._apply(f"freeze {region}", Region(region), Mood.HANGS)

    async def thaw(self, region: str) -> Moment:
        return self._apply(f"thaw {region}", Region(region), None)

    async def start(self, region: str) -> Moment:
        return self._apply(f"start {region}", Region(region), None)

    async def signal(self, region: str, match: str, number: signal.Signals = signal.SIGKILL) -> Moment:
        return self._note(f"{number.name} {match} {region}")

    async def set_link(
        self,
        source: str,
        target: str,
        *,
        both: bool = True,
        cut: bool | None = None,
        delay_ms: float | None = None,
        rate_kib_s: float | None = None,
    ) -> Moment:
        moment = self._note(f"link {source} {target} cut={cut} rate={rate_kib_s}")
        if cut is not None:
            self._set(Region(source), Mood.FAILS if cut else None)
        elif rate_kib_s is not None:
            self.slow.add(Region(target))
        else:
            self.slow.discard(Region(target))
        return moment

    def _apply(self, what: str, region: Region, mood: Mood | None) -> Moment:
        moment = self._note(what)
        self._set(region, mood)
        return moment

    def _note(self, what: str) -> Moment:
        self.done.append(what)
        return Moment(self.clock.unix_s(), self.clock.now_s())

    def _set(self, region: Region, mood: Mood | None) -> None:
        if mood is None:
            self.away.pop(region, None)
        else:
            self.away[region] = mood
        self._mood()

    # -- pods -------------------------------------------------------------------------------------

    async def ready(self, region: Region) -> tuple[str, ...]:
        return tuple(self.pods[region])

    async def kill_pod(self, region: Region, pod: str) -> Moment:
        self.pods[region].remove(pod)
        self.pods[region].append(f"{pod}+")
        return self._note(f"kill pod {pod}")

    async def evict(self, region: Region, pod: str) -> Moment | None:
        """Every other one is refused at first, as if the one before were not replaced yet."""
        if self.blocks_evictions or (self.done and self.done[-1].startswith("evict")):
            self._note(f"refuse {pod}")
            return None
        self.pods[region].remove(pod)
        self.pods[region].append(f"{pod}+")
        return self._note(f"evict {pod}")

    # -- agents -----------------------------------------------------------------------------------

    async def view(self, of: Region | None = None) -> FleetView:
        present = [region for region in self.regions if region not in self.away]
        if not present or (of is not None and of in self.away):
            raise FleetUnavailableError("no agent answers")
        standbys = tuple(Sender(r, True, 1, 1, True) for r in present if r != self.topology.primary)
        writable = self.topology.primary in present
        return FleetView(
            source=of or present[0],
            revision=len(self.log),
            age_s=0.0,
            answered=frozenset(present),
            quorum_leader=present[-1],
            topologies={APP: self.topology},
            heartbeats={r: self._heartbeat(r, standbys if writable else ()) for r in present},
            because={APP: f"{len(present)} of {len(self.regions)} regions are there"},
        )

    def _heartbeat(self, region: Region, senders: tuple[Sender, ...]) -> Heartbeat:
        leads = region == self.topology.primary
        role = Role.PRIMARY if leads else Role.STANDBY
        report = InstanceReport(role, 1, leads, WalPosition(1, 1), None, True, 2, senders if leads else ())
        return Heartbeat(region, "i", 1, 0, {}, {APP: report})

    async def records(self, after: int) -> tuple[tuple[Record, ...], int]:
        return tuple(self.log[after:]), len(self.log)

    async def switchover(self, app: App, to: Region) -> str:
        if to in self.away:
            raise RefusedError(f"{to} is down")
        self._lead(to, "PrimaryPromoted", "an operator asked")
        return "accepted"

    async def set_mode(self, app: App, mode: ReplicationMode) -> str:
        self.topology = replace(self.topology, mode=mode)
        return "accepted"

    # -- the rule ---------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._step()
            await asyncio.sleep(TICK_S)

    def _step(self) -> None:
        present = [region for region in self.regions if region not in self.away]
        if self.topology.primary in present or len(present) <= len(self.regions) // 2:
            self._missed = 0
            return
        self._missed += 1
        if self._missed > self._patience:
            self._missed = 0
            for key in list(self.gateways[present[0]].payments)[-self._forgets :] if self._forgets else ():
                del self.gateways[present[0]].payments[key]
            successor = next(region for region in present if region not in self.slow)
            self._log_decision("PrimaryLost", present[0])
            self._log_decision("FailoverPrepared", present[0])
            self._lead(successor, "PrimaryElected", "the most advanced candidate")
            self._log_decision("PrimaryPromoted", successor)
            self._log_decision("PrimaryRouted", successor)

    def _lead(self, region: Region, kind: str, because: str) -> None:
        self.topology = replace(self.topology, epoch=self.topology.epoch + 1, primary=region, because=because)
        self._log_decision(kind, region)
        self._mood()

    def _log_decision(self, kind: str, region: Region) -> None:
        ahead = 1 if kind in ("PrimaryLost", "FailoverPrepared") else 0
        self.log.append(
            Record(self.clock.unix_s(), region, APP, self.topology.epoch + ahead, kind, f"{kind} in {region}")
        )

    def _mood(self) -> None:
        served = self.topology.primary not in self.away
        for region, gateway in self.gateways.items():
            gateway.mood = self.away.get(region, Mood.GOOD if served else Mood.FAILS)


class MiniPods:
    """The pods of a fleet in miniature, apart: to kill a pod and to kill a region are different things."""

    def __init__(self, fleet: MiniFleet) -> None:
        self.ready = fleet.ready
        self.kill = fleet.kill_pod
        self.evict = fleet.evict
