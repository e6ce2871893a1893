"""Decide, for one application, whether its topology must change, and to what.

Two-phase, like a consensus round. *Prepare*: the topology becomes ``electing`` under the next epoch, and the lost
region's fence is bumped in the same transaction, which also fails if that region was heard meanwhile.
Replicas that see it cut from the old primary and promise what they hold. *Promote*: the elected region is
named by compare-and-swap; it promotes, writes its epoch into the database, and declares itself steady.

Always true: a region is elected only by promises of the epoch in force; a primary is deposed only when its
lease is over, or its promise proves that it stopped, before another region is promoted.
Not here: orders to PostgreSQL (``replication``), planned changes (``switchover``), traffic (``routing``).
"""

from dataclasses import replace
from typing import assert_never

from leeward.core import data_regions, election, lease, membership, reconfiguration, recovery, switchover, tally
from leeward.core.actions import Action, Decision, GivePromise, Note, Propose
from leeward.core.values import FailoverPolicy, InstanceStatus, Phase, Promise, Region, Role, Topology
from leeward.core.view import Fence, View

FOUNDING_EPOCH = 1
"""An application's first epoch, and no other: a store that went back opens a much later one."""
# How long an instance may fail to accept writes, in the region's leases, before its own region gives the primary up:
# long enough for PostgreSQL to come back after a crash, and short enough to elect another one within the RTO. An
# application that waits longer for a silent primary waits as long for a database that does not write.
UNWRITABLE_LEASES = 1.5
# A region was alive when it was elected, so one whose heartbeats are late here has this long for the next to arrive.
ELECTED_LEASES = 0.5


def decide(view: View) -> Decision:
    """Return what to do about the application's topology, and why."""
    topology = view.topology
    if topology is None and view.declared != view.app.data_regions:
        # An agent with old files must not bring back what was removed, whatever epochs its instance has accepted.
        return Decision(f"waiting until the files of most regions agree on {view.app.name} and its data regions")
    recovered = recovery.recover(view)
    if recovered is not None:
        return recovered
    if topology is None:
        return _found(view)
    match topology.phase:
        case Phase.ELECTING:
            return _elect(view, topology)
        case Phase.STEADY | Phase.PROMOTING | Phase.SWITCHING:
            assert topology.primary is not None, "only an election is without a primary"
            if topology.primary == view.me:
                return _lead(view, topology)
            return _watch(view, topology, topology.primary)
        case _:
            assert_never(topology.phase)


def _found(view: View) -> Decision:
    """Write the first topology; the preferred region does it, once the instance managers answer.

    None of them has an epoch or data (``recovery``). Those that do not answer are waited for, for a limited time.
    """
    first, *_ = view.app.data_regions
    if view.me != first:
        return Decision(f"waiting for {first} to found {view.app.name}")
    if view.instance is None:
        return Decision("waiting for the instance manager before founding the application")
    awaited = recovery.awaited(view)
    give_up_at_s = view.store_read_at_s + recovery.FOUNDING_WAIT_LEASES * view.timers.lease_s
    if awaited and view.now_s < give_up_at_s:
        return Decision(f"waiting for the instances in {', '.join(awaited)} before founding", retry_at_s=give_up_at_s)
    mode = view.app.mode
    because = f"{first} founds {view.app.name}: the first of its placement"
    topology = Topology(
        app=view.app.name,
        epoch=FOUNDING_EPOCH,
        phase=Phase.PROMOTING,
        primary=first,
        data_regions=view.app.data_regions,
        mode=mode,
        acks_required=data_regions.acks_required(mode, len(view.app.data_regions)),
        because=because,
        generation=view.generation,
    )
    return Decision(because, (Propose(topology, 0, (Note("ApplicationFounded", because),)),))


def is_founding(view: View, topology: Topology) -> bool:
    """Whether the application has never had a database: its first primary has not proved a write yet.

    Never after that: a primary that lost its data and its state must not create another database beside the copies.
    """
    if (topology.epoch, topology.phase) != (FOUNDING_EPOCH, Phase.PROMOTING) or topology.recovering:
        return False
    reports = (view.report(region) for region in topology.data_regions if region != topology.primary)
    return not any(report is not None and (report.has_data or report.wal is not None) for report in reports)


def _watch(view: View, topology: Topology, primary: Region) -> Decision:
    """Another region is primary: depose it when it is lost."""
    verdict = membership.judge(view, primary)
    if not verdict.lost:
        return Decision(verdict.because, retry_at_s=verdict.retry_at_s)
    if is_founding(view, topology):
        return Decision(
            f"{verdict.because}; it is creating the database, and no other region has a copy: waiting for it"
        )
    if topology.paused:
        return Decision(f"{verdict.because}; automatic failover is paused")
    heard_by_s = view.topology_seen_at_s + ELECTED_LEASES * view.timers.lease_s
    if topology.phase is Phase.PROMOTING and view.now_s < heard_by_s:
        return Decision(f"{primary} has just become primary; waiting for its next heartbeat", retry_at_s=heard_by_s)
    seen = view.seen[primary]
    if view.app.failover is FailoverPolicy.OBSERVE:
        of = f"{topology.epoch}/{seen.heartbeat.incarnation}/{seen.heartbeat.sequence}"
        return tally.withheld(view, topology, verdict.because, of=of, silent_s=view.now_s - seen.at_s)
    return Decision(
        verdict.because,
        (
            depose(
                view,
                topology,
                because=verdict.because,
                lease_over=True,
                unless_heard=(primary, seen.revision),
                silent_s=view.now_s - seen.at_s,
            ),
        ),
    )


def depose(
    view: View,
    topology: Topology,
    *,
    because: str,
    lease_over: bool,
    unless_heard: tuple[Region, int] | None = None,
    request: str | None = None,
    target: Region | None = None,
    silent_s: float | None = None,
) -> Propose:
    """Return the proposal that prepares an election: phase one."""
    assert topology.primary is not None
    seen = view.seen.get(topology.primary)
    stated_s = lease.stated_s(seen.heartbeat, topology.app) if seen is not None else 0.0
    electing = replace(
        data_regions.rolled_back(topology),
        epoch=recovery.next_epoch(view),
        phase=Phase.ELECTING,
        primary=None,
        target=target,
        deposed=topology.primary,
        deposed_epoch=topology.epoch,
        deposed_fence=view.fences.get(topology.primary, Fence()).value,
        deposed_lease_over=lease_over,
        deposed_lease_s=max(view.app.lease_s, stated_s),
        favourite=target or election.heir(view, topology),
        handover_lsn=None,
        because=because,
        request=request,
    )
    prepared = f"epoch {electing.epoch} is open; replicas cut from {topology.primary} and promise what they hold"
    return Propose(
        electing,
        view.topology_revision,
        (Note("PrimaryLost", because, silent_s), Note("FailoverPrepared", prepared)),
        bump_fence=topology.primary,
        unless_heard=unless_heard,
    )


def _elect(view: View, topology: Topology) -> Decision:
    """Phase two: promise, and name the elected region once the promises suffice."""
    given = promise(view, topology)
    actions: tuple[Action, ...] = () if given is None else (GivePromise(given),)
    if not old_primary_stopped(view, topology):
        over_at_s = _leases_over_at_s(view, topology)
        whoever = topology.deposed or "every region that may have been primary"
        return Decision(f"waiting until {whoever} has certainly stopped", actions, over_at_s)
    choice = election.choose(view, topology)
    if choice.elected is None:
        return Decision(choice.because, actions, choice.retry_at_s)
    # Whichever agent sees it first proposes: next to the store's leader that saves a round trip. One proposal wins.
    promoting = replace(
        topology,
        phase=Phase.PROMOTING,
        primary=choice.elected,
        favourite=None,
        target=None,
        recovering=False,
        because=choice.because,
    )
    propose = Propose(promoting, view.topology_revision, (Note("PrimaryElected", choice.because),))
    return Decision(choice.because, (*actions, propose))


def old_primary_stopped(view: View, topology: Topology) -> bool:
    """Whether the deposed primary can no longer be writing: its lease is over, or it promised.

    After the store went back it is unknown who that is: every data region must have promised, or every lease be over.
    """
    if topology.recovering:
        if all(region in view.promises for region in topology.data_regions):
            return True
    elif topology.deposed_lease_over or topology.deposed is None or topology.deposed in view.promises:
        return True
    return view.now_s >= _leases_over_at_s(view, topology)


def _leases_over_at_s(view: View, topology: Topology) -> float:
    """Return when the old primary's lease is certainly over: the longest that anything known allows.

    Nothing of a replaced history can commit once the election after it is there to be seen, so leases given in it count
    from then at the latest.
    """
    lease_s = max(view.app.lease_s, topology.deposed_lease_s, view.deposed_lease_s)
    if not topology.recovering:
        return lease.takeover_at_s(view.deposed_seen_at_s, lease_s)
    stated_s = (lease.stated_s(seen.heartbeat, topology.app) for seen in view.seen.values())
    return lease.takeover_at_s(view.topology_seen_at_s, max(lease_s, *stated_s, 0.0))


def promise(view: View, topology: Topology) -> Promise | None:
    """Return what this region's replica can promise now and has not promised yet."""
    instance = view.instance
    if view.me not in topology.data_regions or instance is None or instance.wal is None:
        return None
    if view.me in view.promises:
        return None
    if instance.epoch != topology.epoch or not (_detached(instance) or _lined_up(instance, topology)):
        return None
    return Promise(
        region=view.me,
        app=topology.app,
        epoch=topology.epoch,
        wal=instance.wal,
        healthy=instance.problem is None,
    )


def _detached(instance: InstanceStatus) -> bool:
    return instance.role is Role.DETACHED and instance.settled


def _lined_up(instance: InstanceStatus, topology: Topology) -> bool:
    """Whether it already streamed from the favourite, in recovery itself: then it is cut from every primary too."""
    order = instance.order
    obeys = order is not None and order.asks_for(topology.epoch, Role.STANDBY, topology.favourite)
    streams = instance.role is Role.STANDBY and instance.upstream == topology.favourite
    replayed = instance.wal is not None and (instance.replayed_lsn or 0) >= instance.wal.lsn
    return topology.favourite is not None and obeys and streams and replayed


def _lead(view: View, topology: Topology) -> Decision:
    """This region is primary: settle, hand over as asked, change modes, or give up."""
    instance = view.instance
    silent_since_s = view.instance_silent_since_s
    if silent_since_s is not None and topology.phase is not Phase.SWITCHING:
        give_up_at_s = silent_since_s + max(UNWRITABLE_LEASES * view.timers.lease_s, view.app.takeover_s)
        if _heir_exists(view, topology) and not topology.paused:
            if view.now_s < give_up_at_s:
                return Decision("the database here does not accept writes yet", retry_at_s=give_up_at_s)
            if view.app.failover is FailoverPolicy.AUTOMATIC:
                return _give_up(view, topology, view.now_s - silent_since_s)
            if topology.phase is Phase.STEADY:
                of = f"{topology.epoch}/{view.me}/{silent_since_s:.0f}"
                silent_s = view.now_s - silent_since_s
                return tally.withheld(view, topology, _unwritable(view, silent_s), of=of, silent_s=silent_s)
    if topology.phase is Phase.SWITCHING:
        return switchover.drive(view, topology)
    if topology.phase is Phase.PROMOTING:
        lacking = switchover.lacks_handover(view, topology)
        if lacking is not None:
            # Also while failover is paused or observed: no primary is lost, and no write, where a switchover fails.
            return Decision(lacking, (depose(view, topology, because=lacking, lease_over=False),))
        if instance is None or not (instance.proved and instance.writable and instance.epoch == topology.epoch):
            return Decision(f"{view.me} promotes under epoch {topology.epoch}")
        because = f"{view.me} accepts writes and has written epoch {topology.epoch} into the database"
        steady = replace(
            topology,
            phase=Phase.STEADY,
            deposed=None,
            deposed_epoch=0,
            handover_lsn=None,
            request=None,
            # After the store went back it was the fewest of several sets; the record is acknowledged by this one's.
            acks_required=data_regions.acks_required(topology.mode, len(topology.data_regions)),
            because=topology.because,
        )
        return Decision(because, (Propose(steady, view.topology_revision, (Note("PrimaryPromoted", because),)),))
    change = (None if topology.joint else _change_mode(view, topology)) or reconfiguration.advance(view, topology)
    return change if change is not None else Decision(f"{view.me} is primary under epoch {topology.epoch}")


def _heir_exists(view: View, topology: Topology) -> bool:
    """Whether another region's replica could take over. It need not be healthy: cut off from us, none can stream."""
    reports = ((region, view.report(region)) for region in topology.data_regions if region != view.me)
    return any(report is not None and report.wal is not None and view.alive(region) for region, report in reports)


def _unwritable(view: View, silent_s: float) -> str:
    return f"the database in {view.me} has not accepted writes for {silent_s:.1f} s; another region can"


def _give_up(view: View, topology: Topology, silent_s: float) -> Decision:
    """Depose ourselves. The agent stops extending the lease of an instance that does not write, so it has expired."""
    because = _unwritable(view, silent_s)
    return Decision(because, (depose(view, topology, because=because, lease_over=False, silent_s=silent_s),))


def _change_mode(view: View, topology: Topology) -> Decision | None:
    """Bring the promise in force and PostgreSQL's setting together, always in the safe order.

    Stricter: PostgreSQL first, then the promise. Laxer: the promise first. Elections go by the promise, so a
    write acknowledged under a strict setting is never judged by a lax rule's opposite.
    """
    wanted = topology.requested_mode
    if wanted is None:
        return None
    required = data_regions.acks_required(wanted, len(topology.data_regions))
    instance = view.instance
    # With one data region there is no standby to wait for.
    if required:
        senders = [s for s in instance.senders if s.region in topology.data_regions] if instance is not None else []
        caught_up = (
            instance is not None
            and instance.settled
            and instance.order is not None
            and instance.order.synchronous is not None
            and sum(sender.synchronous and sender.streaming for sender in senders) >= 1
            and sum(
                sender.streaming and view.lags_s.get(sender.region, 0.0) < view.timers.lease_s for sender in senders
            )
            >= required
        )
        if not caught_up:
            return Decision(f"PostgreSQL is being set to {wanted} before writes are promised as {wanted}")
    because = f"acknowledged writes are now promised as {wanted}"
    changed = replace(topology, mode=wanted, acks_required=required, requested_mode=None)
    return Decision(because, (Propose(changed, view.topology_revision, (Note("ModeChanged", because),)),))
