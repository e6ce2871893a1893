"""What must be true, checked against the simulated world's truth and not against anybody's belief."""

from dataclasses import dataclass, field

from leeward.core.values import App, Phase, Region, ReplicationMode, Role
from leeward.sim.clients import Acknowledged, Ledger
from leeward.sim.region import Site


class ViolationError(AssertionError):
    """The protocol broke a promise. The message says which, and when."""


@dataclass(slots=True)
class Writers:
    """One writer per epoch, and no acknowledgement under an epoch older than one already acknowledged."""

    by_epoch: dict[int, Region] = field(default_factory=dict)
    newest: int = 0
    stale: int = 0

    def saw(self, found: Acknowledged) -> None:
        """Check one acknowledgement, at the moment the database gives it. Raises ViolationError."""
        writer = self.by_epoch.setdefault(found.epoch, found.by)
        if writer != found.by:
            raise ViolationError(
                f"two writers in epoch {found.epoch}: {writer} and {found.by} (at {found.committed_at_s:.3f} s)"
            )
        if found.epoch < self.newest:
            raise ViolationError(
                f"{found.by} acknowledged {found.key} under epoch {found.epoch} at {found.committed_at_s:.3f} s, "
                f"after a write under epoch {self.newest} was acknowledged"
            )
        self.newest = found.epoch


def lost(sites: dict[Region, Site], app: App, primary: Region, ledger: Ledger) -> list[Acknowledged]:
    """Return the acknowledged writes that the primary does not have."""
    history = sites[primary].instances[app].postgres.history
    return [found for key, found in ledger.acknowledged.items() if not history.holds(key)]


def check_loss(
    sites: dict[Region, Site], app: App, primary: Region, ledger: Ledger, mode: ReplicationMode
) -> list[Acknowledged]:
    """Check what was lost against what the mode promises, and that every loss is in an orphan report.

    Raises ViolationError. Returns the losses, which only async may have.
    """
    missing = lost(sites, app, primary, ledger)
    if missing and mode is not ReplicationMode.ASYNC:
        first = missing[0]
        raise ViolationError(
            f"{len(missing)} acknowledged writes lost in {mode}; the first: {first.key}, acknowledged by {first.by} "
            f"under epoch {first.epoch} at {first.committed_at_s:.3f} s"
        )
    reported = {key for site in sites.values() for _, keys in site.instances[app].orphans for key in keys}
    unreported = [found.key for found in missing if found.key not in reported]
    if unreported:
        raise ViolationError(f"lost and in no orphan report: {', '.join(unreported[:5])}")
    return missing


def pending(sites: dict[Region, Site], app: App) -> list[str]:
    """Return what has not converged yet, in sentences; empty when all is well."""
    waiting = []
    machines = [site.machine for site in sites.values()]
    if any(machine is None for machine in machines):
        waiting.append("an agent is not running")
    topologies = [m.store.topologies[app].topology for m in machines if m is not None and app in m.store.topologies]
    if len({(t.epoch, t.phase, t.primary) for t in topologies}) != 1:
        return [*waiting, "the agents do not see the same topology"]
    topology = topologies[0]
    if topology.phase is not Phase.STEADY or topology.primary is None:
        because = next((m.apps[app].because for m in machines if m is not None), "")
        return [*waiting, f"the topology is {topology.phase}: {because}"]
    for region in topology.data_regions:
        instance = sites[region].instances[app]
        server, leader = instance.postgres, sites[topology.primary].instances[app].postgres
        if region == topology.primary:
            if not (instance.writable and instance.epoch == topology.epoch):
                waiting.append(f"the primary {region} is not writable")
        elif server.role is not Role.STANDBY or server.upstream != topology.primary:
            waiting.append(f"{region} does not follow {topology.primary}: {server.role}, upstream {server.upstream}")
        elif len(server.history) < len(leader.history):
            waiting.append(f"{region} has not caught up")
    for site in sites.values():
        route = site.routes.get(app)
        if route is None or route.primary != topology.primary:
            waiting.append(f"the gateway of {site.name} sends writes to {route.primary if route else 'nobody'}")
    return waiting
