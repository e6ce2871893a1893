"""What a drill needs of a world and of the fleet's agents, as Protocols, and what it reads from them."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from leeward.core.values import App, Heartbeat, Record, Region, ReplicationMode, Topology


class FleetUnavailableError(Exception):
    """Nobody answered in time: no agent, or not a region's API server."""


class RefusedError(Exception):
    """An agent refused what the operator asked for; the text says why."""


class Applied(Protocol):
    """When a fault was applied, read right before on both clocks (``leeward.world.model.Applied``)."""

    @property
    def at_unix_s(self) -> float:
        """Seconds since 1970."""
        ...

    @property
    def at_boot_s(self) -> float:
        """Seconds of CLOCK_BOOTTIME."""
        ...


class Faults(Protocol):
    """Breaks and mends a world. ``leeward.world.client.World`` is one."""

    async def kill(self, region: str) -> Applied:
        """End every process of the region at once."""
        ...

    async def freeze(self, region: str) -> Applied:
        """Stop every process of the region where it stands."""
        ...

    async def thaw(self, region: str) -> Applied:
        """Let a frozen region go on."""
        ...

    async def start(self, region: str) -> Applied:
        """Start a lost region again, with the disks it had."""
        ...

    async def signal(self, region: str, match: str, number: signal.Signals = ...) -> Applied:
        """Signal one kind of process of a region: postgres, instance-manager, agent, etcd, gateway."""
        ...

    async def set_link(
        self,
        source: str,
        target: str,
        *,
        both: bool = ...,
        cut: bool | None = ...,
        delay_ms: float | None = ...,
        rate_kib_s: float | None = ...,
    ) -> Applied:
        """Change a link, or both directions of it; what is not given stays, None is as configured."""
        ...


class Pods(Protocol):
    """The application's pods in each region, not those of its database. All raise FleetUnavailableError."""

    async def ready(self, region: Region) -> tuple[str, ...]:
        """Return the names of the pods that are ready and stay, oldest first."""
        ...

    async def kill(self, region: Region, pod: str) -> Applied:
        """End a pod at once, without any grace. What controls it makes another one."""
        ...

    async def evict(self, region: Region, pod: str) -> Applied | None:
        """Ask a pod to go, as a drain of its node does; None while its disruption budget forbids it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetView:
    """The fleet as one agent knows it."""

    asked: Region
    revision: int
    age_s: float | None
    """How long ago that agent heard of the quorum; None: never."""
    answered: frozenset[Region]
    """Regions whose heartbeat is within the lease."""
    quorum_leader: Region | None
    topologies: Mapping[App, Topology]
    heartbeats: Mapping[Region, Heartbeat]
    because: Mapping[App, str]
    """The agent's sentence about each application at this moment."""


class Fleet(Protocol):
    """The agents, as an operator reaches them. Any of them may be dead: another one is asked."""

    async def view(self, of: Region | None = None) -> FleetView:
        """Return the freshest view, or the view ``of`` one agent. Raises FleetUnavailableError."""
        ...

    async def records(self, after: int) -> tuple[tuple[Record, ...], int]:
        """Return decisions later than a cursor (0: all), and the next cursor. Raises FleetUnavailableError."""
        ...

    async def switchover(self, app: App, to: Region) -> str:
        """Ask for a switchover; return why it was accepted. Raises RefusedError, FleetUnavailableError."""
        ...

    async def set_mode(self, app: App, mode: ReplicationMode) -> str:
        """Ask for another replication mode, as ``switchover``."""
        ...


def unsettled(view: FleetView, app: App, regions: tuple[Region, ...], lease_s: float) -> tuple[str, ...]:
    """Return what keeps the application from its steady state, in sentences: none, and it is steady.

    Steady: one writable primary, every other data region streams from it, every region is heard, pods are ready.
    """
    topology = view.topologies.get(app)
    if topology is None:
        return (f"{app} has no topology yet",)
    found: list[str] = []
    if view.age_s is None or view.age_s > lease_s:
        found.append(f"the agent of {view.asked} has not heard of the quorum for {view.age_s or 0.0:.1f} s")
    found += [f"{region} is not heard" for region in regions if region not in view.answered]
    if topology.phase != "steady" or topology.primary is None:
        found.append(f"{app} is {topology.phase}: {topology.because}")
        return tuple(found)
    if topology.requested_mode is not None:
        found.append(f"the change to {topology.requested_mode} is under way")
    reports = {region: heartbeat.apps.get(app) for region, heartbeat in view.heartbeats.items()}
    primary = reports.get(topology.primary)
    if primary is None or not primary.writable:
        found.append(f"the database in {topology.primary} does not accept writes")
        return tuple(found)
    streaming = {sender.region for sender in primary.senders if sender.streaming}
    found += [
        f"the standby in {region} does not stream from {topology.primary}"
        for region in topology.data_regions
        if region != topology.primary and region not in streaming
    ]
    for region in regions:
        report = reports.get(region)
        if report is not None and report.pods_ready == 0:
            found.append(f"no pod of {app} is ready in {region}")
    return tuple(found)
