"""Decide the steps of a planned change of primary: no write lost, a short gap, no rewind.

The old primary drives. Preflight; the other standbys line up behind the target; the old primary stops
cleanly, which sends everything to the target; only then is the target named primary, together with where
the WAL ended. The target promotes when it holds that much, and otherwise gives up for an election.

Always true: the old primary is shut down before another region is named; the target promotes only with all of the WAL
that the old primary stopped with. A region that lost its data does not hand over: it stays the primary, and is given up
like any other that does not accept writes (``failover``).
"""

from dataclasses import replace

from leeward.core import data_regions, recovery
from leeward.core.actions import Decision, Note, Propose
from leeward.core.values import InstanceStatus, Order, Phase, Region, Role, Topology
from leeward.core.view import View

LAG_MAX_BYTES = 16 * 1024 * 1024
# A switchover that cannot drain within this many leases is cancelled.
DRAIN_LEASES = 5
# How long the other standbys may take to line up before the drain starts without them.
LINE_UP_LEASES = 1.5


def preflight(view: View, topology: Topology, target: Region) -> str | None:
    """Return why a switchover to ``target`` must not start now, or None when it may."""
    if topology.phase is not Phase.STEADY:
        return f"{topology.app} is {topology.phase}: {topology.because}"
    if target == topology.primary:
        return f"{target} is already the primary"
    if target not in topology.data_regions:
        return f"{target} has no replica of {topology.app}; choose one of {', '.join(topology.data_regions)}"
    if target == topology.leaving:
        return f"{target} is leaving: it will have no replica of {topology.app}"
    if not view.alive(target):
        return f"no heartbeat from {target} for longer than a lease"
    report = view.report(target)
    if report is None or not report.healthy:
        return f"the replica in {target} is not healthy"
    if report.pods_ready < 1:
        return f"no pod of {topology.app} is ready in {target}: it could not serve its users"
    instance = view.instance
    if instance is None or instance.wal is None:
        return "the primary's own instance does not answer"
    sender = next((s for s in instance.senders if s.region == target and s.streaming), None)
    if sender is None:
        return f"{target} is not streaming from {view.me}"
    lag_bytes = instance.wal.lsn - sender.flushed_lsn
    if lag_bytes > LAG_MAX_BYTES:
        return f"{target} is {lag_bytes} bytes behind; the limit is {LAG_MAX_BYTES}"
    return None


def start(view: View, topology: Topology, target: Region, request: str | None, because: str | None = None) -> Propose:
    """Return the proposal that begins a switchover, which an operator requested unless ``because`` says why."""
    because = because or f"an operator asked to move the primary from {topology.primary} to {target}"
    switching = replace(
        data_regions.rolled_back(topology), phase=Phase.SWITCHING, target=target, because=because, request=request
    )
    return Propose(switching, view.topology_revision, (Note("SwitchoverStarted", because),))


def lined_up(view: View, topology: Topology) -> bool:
    """Whether the drain may start: the other standbys stream from the target, or had the time to.

    With more than one acknowledgement per write the others stay with the primary, so there is nothing to wait for.
    A drain that has begun goes on, whoever comes or goes: PostgreSQL cannot take a stop back, only start again.
    """
    if topology.acks_required > 1:
        return True
    order = view.instance.order if view.instance is not None else None
    if order is not None and order.asks_for(topology.epoch, Role.STOPPED):
        return True
    if view.now_s >= view.topology_seen_at_s + LINE_UP_LEASES * view.timers.lease_s:
        return True
    others = [r for r in topology.data_regions if r not in (view.me, topology.target) and view.alive(r)]
    reports = [view.report(region) for region in others]
    return all(report is not None and report.upstream == topology.target for report in reports)


def drive(view: View, topology: Topology) -> Decision:
    """Return the old primary's next step."""
    target = topology.target
    assert target is not None, "a switchover has a target"
    instance = view.instance
    call_off_at_s = view.topology_seen_at_s + DRAIN_LEASES * view.timers.lease_s
    if instance is not None and drained(instance, topology) and instance.wal is not None:
        because = f"{view.me} stopped cleanly; {target} takes over"
        promoting = replace(
            topology,
            epoch=recovery.next_epoch(view),
            phase=Phase.PROMOTING,
            primary=target,
            target=None,
            deposed=view.me,
            handover_lsn=instance.wal.lsn,
            because=f"{topology.because}; {because}",
        )
        return Decision(because, (Propose(promoting, view.topology_revision, (Note("PrimaryDrained", because),)),))
    lost = instance is not None and _data_lost(instance, topology)
    if lost or view.now_s >= call_off_at_s or not view.alive(target):
        why = f"{target} is lost" if not view.alive(target) else "it could not be drained in time"
        if lost:
            why = f"the data in {view.me} is lost, and {target} may lack its last writes"
        because = f"the switchover to {target} is cancelled: {why}"
        steady = replace(topology, phase=Phase.STEADY, target=None, request=None, because=because)
        return Decision(because, (Propose(steady, view.topology_revision, (Note("SwitchoverCalledOff", because),)),))
    if not lined_up(view, topology):
        at_s = view.topology_seen_at_s + LINE_UP_LEASES * view.timers.lease_s
        return Decision(f"the other standbys line up behind {target}", retry_at_s=at_s)
    return Decision(f"{view.me} drains for {target}", retry_at_s=call_off_at_s)


def drained(instance: InstanceStatus, topology: Topology) -> bool:
    """Whether the old primary stopped by order, with its data, and did not start again but to follow the target.

    Only with its data: a copy of the target ends where the target does, whatever was acknowledged here.
    """
    order = instance.order
    if order is None or _data_lost(instance, topology):
        return False
    if order.asks_for(topology.epoch, Role.STANDBY, topology.target):
        return instance.role is not Role.PRIMARY
    return order.asks_for(topology.epoch, Role.STOPPED) and instance.settled and instance.role is Role.STOPPED


def _data_lost(instance: InstanceStatus, topology: Topology) -> bool:
    """Whether the old primary has lost its data, and with it the knowledge where its WAL ended."""
    ordered = instance.order is not None and instance.order.epoch == topology.epoch
    return ordered and instance.role is Role.STOPPED and instance.wal is None and not instance.has_data


def follow(topology: Topology) -> Order:
    """Return what the old primary does next, without waiting for the target to be named: time is writes."""
    return Order(topology.epoch, Role.STANDBY, upstream=topology.target)


def lacks_handover(view: View, topology: Topology) -> str | None:
    """Return why the target gives up, when it does not hold all that the old primary wrote and the old primary does.

    An election follows, which the old primary wins with what it holds. It is not named here: the end of the WAL may
    reach the target, and the old primary's disk may be lost, while that is on its way to the store.
    """
    old, instance = topology.deposed, view.instance
    if topology.handover_lsn is None or old is None or instance is None or instance.wal is None:
        return None
    if holds_handover(view, topology) or view.now_s < view.topology_seen_at_s + view.timers.lease_s / 2:
        return None
    report = view.report(old)
    if not view.alive(old) or report is None or report.wal is None or report.wal.lsn < topology.handover_lsn:
        return None
    return f"{view.me} lacks the end of {old}'s WAL, and {old} still has it; an election decides"


def holds_handover(view: View, topology: Topology) -> bool:
    """Whether this region's instance may promote: it holds the old primary's WAL to its end."""
    if topology.handover_lsn is None:
        return True
    instance = view.instance
    if instance is None:
        return False
    if instance.order is not None and instance.order.asks_for(topology.epoch, Role.PRIMARY):
        # It held it when that was ordered. Taken back while its database is down, the order could not be given again.
        return True
    if instance.wal is None:
        return False
    return instance.role is Role.PRIMARY or instance.wal.lsn >= topology.handover_lsn
