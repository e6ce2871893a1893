"""What must be true, checked against the simulated world's truth and not against what an agent believes."""

from collections.abc import Iterator, Set
from dataclasses import dataclass, field

from leeward.core import invariants, progress, timers
from leeward.core.values import App, FailoverPolicy, Phase, Region, ReplicationMode, Role, Topology
from leeward.sim.clients import Acknowledged, Ledger
from leeward.sim.fleet import Fleet
from leeward.sim.region import Site
from leeward.sim.violation import ViolationError

# In async a primary that is cut off may acknowledge for this share of the RPO, or for the shortest lease.
CUT_OFF_SHARE = 0.5
# How old an instance's word to its agent may be, on its way included.
REPORT_S = 0.3


@dataclass(slots=True)
class Writers:
    """One writer per epoch, and no acknowledgement under an epoch older than one already acknowledged."""

    by_epoch: dict[int, Region] = field(default_factory=dict)
    newest: int = 0
    late: int = 0
    """Acknowledged by a machine that had stood still, in the moments before its kernel ended the database."""
    forgetful: bool = False
    """Members of the store forgot what they had agreed to, so a deposition may be forgotten: nothing prevents that its
    primary goes on in its epoch until the others are heard. Two writers in one epoch are never right."""

    def saw(self, found: Acknowledged) -> None:
        """Check one acknowledgement, at the moment the database gives it. Raises ViolationError."""
        writer = self.by_epoch.setdefault(found.epoch, found.by)
        if writer != found.by:
            raise ViolationError(
                f"two writers in epoch {found.epoch}: {writer} and {found.by} (at {found.committed_at_s:.3f} s)"
            )
        if found.epoch < self.newest and (found.waking or self.forgetful):
            self.late += 1
            return
        if found.epoch < self.newest:
            raise ViolationError(
                f"{found.by} acknowledged {found.key} under epoch {found.epoch} at {found.committed_at_s:.3f} s, "
                f"after a write under epoch {self.newest} was acknowledged"
            )
        self.newest = found.epoch


def check_invariants(before: Topology | None, topology: Topology) -> None:
    """Raise ViolationError for a step that no topology may take."""
    text = invariants.broken(before, topology)
    if text is not None:
        raise ViolationError(f"a topology that may not be: {text}")


def check_withheld(before: Topology | None, topology: Topology, policy: FailoverPolicy) -> None:
    """Check that no agent failed over by itself while an operator or the files forbid it. Raises ViolationError."""
    if before is None or topology.epoch == before.epoch or topology.phase is not Phase.ELECTING:
        return
    if topology.recovering:
        # No failover: the store went back, and without an election nothing could be primary again.
        return
    if before.phase is Phase.PROMOTING and before.handover_lsn is not None and topology.deposed == before.primary:
        # Nor here: the target of a planned change lacks the end of the WAL.
        return
    if topology.request is None and before.paused:
        raise ViolationError(f"epoch {topology.epoch} was opened although failover is paused: {topology.because}")
    if topology.request is None and policy is FailoverPolicy.OBSERVE:
        raise ViolationError(f"epoch {topology.epoch} was opened although failover is observed: {topology.because}")


def check_promised(sites: dict[Region, Site], topology: Topology, found: Acknowledged) -> None:
    """Check that elections of the set of data regions in force will find an acknowledged write. Raises ViolationError.

    Whatever PostgreSQL was asked for: the write must be on as many of these regions as the topology promises.
    """
    if topology.epoch != found.epoch or topology.mode is ReplicationMode.ASYNC:
        return
    written = sites[found.by].instances[topology.app].postgres.history
    histories = {region: sites[region].instances[topology.app].postgres.history for region in topology.data_regions}
    holders = [region for region, history in histories.items() if history.shares(written, found.lsn)]
    if len(holders) <= topology.acks_required:
        raise ViolationError(
            f"{found.by} acknowledged {found.key} under epoch {found.epoch} at {found.committed_at_s:.3f} s, and of "
            f"the data regions {', '.join(topology.data_regions)} only {', '.join(holders) or 'none'} hold it: "
            f"{topology.acks_required + 1} must"
        )


def check_steady(sites: dict[Region, Site], before: Topology | None, topology: Topology) -> None:
    """Check that a primary that is declared steady has the record of its epoch where the mode demands it.

    By content, at the moment the topology is committed. Raises ViolationError.
    """
    settles = before is not None and before.phase is Phase.PROMOTING and before.epoch == topology.epoch
    if not settles or topology.phase is not Phase.STEADY or topology.primary is None:
        return
    instances = {region: sites[region].instances[topology.app] for region in topology.data_regions}
    holders = [region for region, instance in instances.items() if instance.recorded(topology.epoch)]
    if topology.primary not in holders or len(holders) <= topology.acks_required:
        raise ViolationError(
            f"{topology.primary} is declared steady, and the record of epoch {topology.epoch} is in "
            f"{', '.join(holders) or 'no region'}: {topology.mode} demands {topology.acks_required + 1}"
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
    sites: dict[Region, Site], app: App, primary: Region, ledger: Ledger, excused: Set[str]
) -> list[Acknowledged]:
    """Check that only what may be lost is, and that all of it is in an orphan report, or was on a disk that was lost.

    Raises ViolationError. Returns the losses.
    """
    missing = lost(sites, app, primary, ledger)
    unexcused = [found for found in missing if found.key not in excused]
    if unexcused:
        first = unexcused[0]
        raise ViolationError(
            f"{len(unexcused)} acknowledged writes lost although they were promised; the first: {first.key}, "
            f"acknowledged by {first.by} under epoch {first.epoch} at {first.committed_at_s:.3f} s"
        )
    instances = {site.name: site.instances[app] for site in sites.values() if app in site.instances}
    known = {key for instance in instances.values() for _, keys in instance.orphans for key in keys}
    known.update(key for instance in instances.values() for key in instance.destroyed)
    # A region that left may have had writes of its own: its volume keeps them.
    data_regions = topology(sites, app).data_regions
    left = [instance.postgres.history for region, instance in instances.items() if region not in data_regions]
    unreported = [
        found.key
        for found in missing
        if found.key not in known and not any(history.holds(found.key) for history in left)
    ]
    if unreported:
        raise ViolationError(f"lost and in no orphan report: {', '.join(unreported[:5])}")
    return missing


def unseen_s(fleet: Fleet) -> float:
    """Return how many seconds of a primary's writes the record of its progress may lack.

    It ends with the last heartbeat that committed, and a primary cut off goes on until its lease ends.
    """
    # What is promised, and not what the settings were compiled to; a longer lease does not become asynchronous.
    longest_s = max(timers.lease_min_s(max(fleet.rtt_s.values())), CUT_OFF_SHARE * fleet.rpo_s)
    lease_s = min(fleet.patience.lease_s, longest_s)
    heartbeat_s = lease_s / timers.HEARTBEATS_PER_LEASE
    interval_s = progress.interval_s(fleet.rpo_s, heartbeat_s)
    return lease_s + timers.margin_s(lease_s) + 2 * heartbeat_s + interval_s + REPORT_S


def check_bound(missing: list[Acknowledged], fleet: Fleet) -> None:
    """Check that no failover lost more seconds of writes than the policy allows. Raises ViolationError."""
    bound_s = fleet.rpo_s + unseen_s(fleet)
    for epoch in {found.epoch for found in missing}:
        times_s = [found.committed_at_s for found in missing if found.epoch == epoch]
        if max(times_s) - min(times_s) > bound_s:
            lost_s = max(times_s) - min(times_s)
            raise ViolationError(f"{lost_s:.1f} s of writes of epoch {epoch} are lost; {bound_s:.1f} s are allowed")


def check_reads(ledger: Ledger, excused: Set[str]) -> None:
    """Check that no primary was without a write it must have, not even for a moment. Raises ViolationError."""
    misread = [found for found in ledger.misread if found.key not in excused]
    if misread:
        first = misread[0]
        raise ViolationError(
            f"{len(misread)} reads of acknowledged writes found nothing; the first: {first.key}, read from {first.by} "
            f"at {first.at_s:.3f} s"
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
    return [
        *waiting,
        *_unfinished_changes(sites, found),
        *_databases_apart(sites, found, found.primary, caught_up=caught_up),
        *_gateways_elsewhere(sites, found),
    ]


def _unfinished_changes(sites: dict[Region, Site], found: Topology) -> Iterator[str]:
    """Yield what of a change of mode or of the data regions is not done."""
    if found.requested_mode is not None:
        yield f"the change to {found.requested_mode} is not done"
    named = {each.data_regions for site in sites.values() for each in site.settings.apps if each.name == found.app}
    # A primary that is to leave stays while an operator forbids to move it.
    stays = found.paused and any(found.primary not in each for each in named)
    if named != {found.data_regions} and not stays:
        files = " or ".join(", ".join(each) for each in sorted(named))
        yield f"the data regions are {', '.join(found.data_regions)}, and the files name {files}"
    if found.joining is not None or found.leaving is not None:
        yield f"{found.joining or found.leaving} is {'joining' if found.joining else 'leaving'} still"


def _databases_apart(sites: dict[Region, Site], found: Topology, primary: Region, *, caught_up: bool) -> Iterator[str]:
    """Yield which databases are not what the topology says: stopped, the primary, or a standby of it."""
    for site in sites.values():
        spare = site.instances.get(found.app) if site.name not in found.data_regions else None
        if spare is not None and spare.postgres.role is not Role.STOPPED:
            yield f"{site.name} is no data region, and its database is {spare.postgres.role}"
    leader = sites[primary].instances[found.app].postgres
    for region in found.data_regions:
        instance = sites[region].instances[found.app]
        server = instance.postgres
        if region == primary:
            if not (instance.writable and instance.epoch == found.epoch):
                yield f"the primary {region} is not writable"
        elif server.role is not Role.STANDBY or server.upstream != primary:
            yield f"{region} does not follow {primary}: {server.role}, upstream {server.upstream}"
        elif caught_up and len(server.history) < len(leader.history):
            yield f"{region} has not caught up"


def _gateways_elsewhere(sites: dict[Region, Site], found: Topology) -> Iterator[str]:
    """Yield which gateways do not send writes to the primary."""
    for site in sites.values():
        route = site.routes.get(found.app)
        if route is None or route.primary != found.primary:
            yield f"the gateway of {site.name} sends writes to {route.primary if route else 'no region'}"
