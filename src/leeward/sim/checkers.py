"""What must be true, checked against the simulated world's truth and not against anybody's belief."""

from dataclasses import dataclass, field

from leeward.core import timers
from leeward.core.values import App, Phase, Region, ReplicationMode, Role, Topology
from leeward.sim.clients import Acknowledged, Ledger
from leeward.sim.fleet import Fleet
from leeward.sim.region import Site
from leeward.sim.violation import ViolationError


@dataclass(slots=True)
class Writers:
    """One writer per epoch, and no acknowledgement under an epoch older than one already acknowledged."""

    by_epoch: dict[int, Region] = field(default_factory=dict)
    newest: int = 0
    late: int = 0
    """Acknowledged by a machine that had stood still, in the moments before its kernel ended the database."""

    def saw(self, found: Acknowledged) -> None:
        """Check one acknowledgement, at the moment the database gives it. Raises ViolationError."""
        writer = self.by_epoch.setdefault(found.epoch, found.by)
        if writer != found.by:
            raise ViolationError(
                f"two writers in epoch {found.epoch}: {writer} and {found.by} (at {found.committed_at_s:.3f} s)"
            )
        if found.epoch < self.newest and found.waking:
            self.late += 1
            return
        if found.epoch < self.newest:
            raise ViolationError(
                f"{found.by} acknowledged {found.key} under epoch {found.epoch} at {found.committed_at_s:.3f} s, "
                f"after a write under epoch {self.newest} was acknowledged"
            )
        self.newest = found.epoch


def check_replicated(sites: dict[Region, Site], app: App, found: Acknowledged) -> None:
    """Check that an acknowledged write is where it must be, at the moment it is acknowledged. Raises ViolationError."""
    server = sites[found.by].instances[app].postgres
    asked = server.synchronous
    if asked is None:
        return
    others = [(region, sites[region].instances[app].postgres.history) for region in asked.members]
    holders = [region for region, history in others if history.shares(server.history, found.lsn)]
    if len(holders) < asked.required:
        raise ViolationError(
            f"{found.by} acknowledged {found.key} under epoch {found.epoch} at {found.committed_at_s:.3f} s, and "
            f"{', '.join(holders) or 'no standby'} holds it: {asked.required} of {', '.join(asked.members)} must"
        )


def check_deposed(sites: dict[Region, Site], topology: Topology) -> None:
    """Check that whoever is deposed because its lease is over writes no more. Raises ViolationError.

    A machine that stands still, kernel and all, is not asked: it stops when it wakes, and is counted then.
    """
    if topology.phase is not Phase.ELECTING or not topology.deposed_lease_over or topology.deposed is None:
        return
    instance = sites[topology.deposed].instances[topology.app]
    asleep = instance.suspended or instance.waking
    if instance.postgres.role is Role.PRIMARY and instance.postgres.epoch < topology.epoch and not asleep:
        raise ViolationError(f"{topology.deposed} was deposed because its lease was over, and still accepts writes")


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
    reported = {
        key
        for site in sites.values()
        if app in site.instances
        for _, keys in site.instances[app].orphans
        for key in keys
    }
    unreported = [found.key for found in missing if found.key not in reported]
    if unreported:
        raise ViolationError(f"lost and in no orphan report: {', '.join(unreported[:5])}")
    return missing


def check_bound(missing: list[Acknowledged], fleet: Fleet) -> None:
    """Check that no failover lost more seconds of writes than the policy allows. Raises ViolationError.

    The estimate ends with the last heartbeat that was seen; a primary cut off goes on until its lease ends.
    """
    lasting = timers.derive(max(fleet.rtt_s.values()))
    bound_s = fleet.rpo_s + lasting.lease_s + lasting.margin_s + 2 * lasting.heartbeat_s
    for epoch in {found.epoch for found in missing}:
        times_s = [found.committed_at_s for found in missing if found.epoch == epoch]
        if max(times_s) - min(times_s) > bound_s:
            lost_s = max(times_s) - min(times_s)
            raise ViolationError(f"{lost_s:.1f} s of writes of epoch {epoch} are lost; {bound_s:.1f} s are allowed")


def check_reads(ledger: Ledger, mode: ReplicationMode) -> None:
    """Check that no primary was without an acknowledged write, not even for a moment. Raises ViolationError."""
    if ledger.misread and mode is not ReplicationMode.ASYNC:
        first = ledger.misread[0]
        raise ViolationError(
            f"{len(ledger.misread)} reads of acknowledged writes found nothing in {mode}; the first: {first.key}, read "
            f"from {first.by} at {first.at_s:.3f} s"
        )


def topology(sites: dict[Region, Site], app: App) -> Topology:
    """Return the newest topology that any agent knows."""
    known = (site.machine.store.topologies.get(app) for site in sites.values() if site.machine is not None)
    return max((stored for stored in known if stored is not None), key=lambda stored: stored.revision).topology


def epoch(sites: dict[Region, Site], app: App) -> int:
    """Return the epoch in force."""
    return topology(sites, app).epoch


def pending(sites: dict[Region, Site], app: App, *, caught_up: bool = True) -> list[str]:
    """Return what has not converged yet, in sentences; empty when all is well.

    ``caught_up``: standbys must hold everything, which takes clients that write nothing.
    """
    waiting = []
    machines = [site.machine for site in sites.values()]
    if any(machine is None for machine in machines):
        waiting.append("an agent is not running")
    topologies = [m.store.topologies[app].topology for m in machines if m is not None and app in m.store.topologies]
    if len({(t.epoch, t.phase, t.primary) for t in topologies}) != 1:
        return [*waiting, "the agents do not see the same topology"]
    found = topologies[0]
    if found.phase is not Phase.STEADY or found.primary is None:
        because = next((m.apps[app].because for m in machines if m is not None), "")
        return [*waiting, f"the topology is {found.phase}: {because}"]
    if found.requested_mode is not None:
        waiting.append(f"the change to {found.requested_mode} is not done")
    for region in found.data_regions:
        instance = sites[region].instances[app]
        server, leader = instance.postgres, sites[found.primary].instances[app].postgres
        if region == found.primary:
            if not (instance.writable and instance.epoch == found.epoch):
                waiting.append(f"the primary {region} is not writable")
        elif server.role is not Role.STANDBY or server.upstream != found.primary:
            waiting.append(f"{region} does not follow {found.primary}: {server.role}, upstream {server.upstream}")
        elif caught_up and len(server.history) < len(leader.history):
            waiting.append(f"{region} has not caught up")
    for site in sites.values():
        route = site.routes.get(app)
        if route is None or route.primary != found.primary:
            waiting.append(f"the gateway of {site.name} sends writes to {route.primary if route else 'nobody'}")
    return waiting
