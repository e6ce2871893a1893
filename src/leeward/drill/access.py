"""What a drill needs of a world and of the fleet's agents, as Protocols, and what it reads from them."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from leeward.core.values import App, Heartbeat, Record, Region, ReplicationMode, Topology


class FleetUnavailableError(Exception):
    """No agent, or not the region's API server, answered in time."""


class RefusedError(Exception):
    """An agent refused the operator's request; the text is the reason."""


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
    """Injects faults into a world and clears them. ``leeward.world.client.World`` is one."""

    async def kill(self, region: str) -> Applied:
        """Kill every process of the region at once."""
        ...

    async def freeze(self, region: str) -> Applied:
        """Suspend every process of the region."""
        ...

    async def thaw(self, region: str) -> Applied:
        """Resume a frozen region."""
        ...

    async def start(self, region: str) -> Applied:
        """Restart a lost region with its old disks."""
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
        """Change a link, or both directions of it; omitted values stay, None restores the configured one."""
        ...


class Pods(Protocol):
    """The application's pods in each region, not those of its database. All raise FleetUnavailableError."""

    async def ready(self, region: Region) -> tuple[str, ...]:
        """Return the names of the pods that are ready and not terminating, oldest first."""
        ...

    async def kill(self, region: Region, pod: str) -> Applied:
        """Delete a pod without a grace period. Its controller replaces it."""
        ...

    async def evict(self, region: Region, pod: str) -> Applied | None:
        """Evict a pod, as a node drain does; None while its disruption budget forbids it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetView:
    """The fleet as one agent sees it."""

    source: Region
    revision: int
    age_s: float | None
    """Time since that agent's last contact with the quorum; None: no contact yet."""
    answered: frozenset[Region]
    """Regions whose heartbeat is within the lease."""
    quorum_leader: Region | None
    topologies: Mapping[App, Topology]
    heartbeats: Mapping[Region, Heartbeat]
    because: Mapping[App, str]
    """The agent's current explanation for each application."""


class Fleet(Protocol):
    """The agents' API for an operator. When an agent is down, another one is asked."""

    async def view(self, of: Region | None = None) -> FleetView:
        """Return the freshest view, or the view ``of`` one agent. Raises FleetUnavailableError."""
        ...

    async def records(self, after: int) -> tuple[tuple[Record, ...], int]:
        """Return decisions later than a cursor (0: all), and the next cursor. Raises FleetUnavailableError."""
        ...

    async def switchover(self, app: App, to: Region) -> str:
        """Request a switchover; return why it was accepted. Raises RefusedError, FleetUnavailableError."""
        ...

    async def set_mode(self, app: App, mode: ReplicationMode) -> str:
        """Request another replication mode; like ``switchover``."""
        ...


def unsettled(view: FleetView, app: App, regions: tuple[Region, ...], lease_s: float) -> tuple[str, ...]:
    """Return why the application is not steady, in sentences; empty when it is.

    Steady: one writable primary, all other data regions stream from it, all regions send heartbeats, pods are ready.
    """
    topology = view.topologies.get(app)
    if topology is None:
        return (f"{app} has no topology yet",)
    found: list[str] = []
    if view.age_s is None or view.age_s > lease_s:
        found.append(f"the agent of {view.source} has had no contact with the quorum for {view.age_s or 0.0:.1f} s")
    found += [f"no heartbeat from {region}" for region in regions if region not in view.answered]
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
