"""Decide the steps of a planned change of primary: no write lost, a short gap, no rewind.

The old primary drives. Preflight; the other standbys line up behind the target; the old primary stops
cleanly, which sends everything to the target; only then is the target named primary, together with where
the WAL ended. The target promotes when it holds that much, and otherwise hands back.

Always true: the old primary is shut down before anybody else is named.
"""

from dataclasses import replace

from leeward.core.actions import Decision, Note, Propose
from leeward.core.values import InstanceStatus, Order, Phase, Region, Role, Topology
from leeward.core.view import View

LAG_MAX_BYTES = 16 * 1024 * 1024
# A switchover that cannot drain within this many leases is called off.
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
    if not view.alive(target):
        return f"{target} has not been heard of for longer than a lease"
    report = view.report(target)
    if report is None or not report.healthy:
        return f"the replica in {target} is not healthy"
    if report.pods_ready < 1:
        return f"no pod of {topology.app} is ready in {target}: its users would have nothing to talk to"
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


def start(view: View, topology: Topology, target: Region, request: str) -> Propose:
    """Return the proposal that begins a switchover."""
    because = f"an operator asked to move the primary from {topology.primary} to {target}"
    switching = replace(topology, phase=Phase.SWITCHING, target=target, because=because, request=request)
    return Propose(switching, view.topology_revision, (Note("SwitchoverStarted", because),))


def lined_up(view: View, topology: Topology) -> bool:
    """Whether the drain may start: the other standbys stream from the target, or had the time to.

    With more than one acknowledgement per write the others stay with the primary, so there is nothing to wait for.
    A drain that has begun goes on, whoever comes or goes: PostgreSQL cannot take a stop back, only start again.
    """
    if topology.acks_required > 1:
        return True
    if view.instance is not None and view.instance.order == Order(topology.epoch, Role.STOPPED):
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
            epoch=topology.epoch + 1,
            phase=Phase.PROMOTING,
            primary=target,
            target=None,
            deposed=view.me,
            handover_lsn=instance.wal.lsn,
            because=f"{topology.because}; {because}",
        )
        return Decision(because, (Propose(promoting, view.topology_revision, (Note("PrimaryDrained", because),)),))
    if view.now_s >= call_off_at_s or not view.alive(target):
        why = "it could not be drained in time" if view.alive(target) else f"{target} is gone"
        because = f"the switchover to {target} is called off: {why}"
        steady = replace(topology, phase=Phase.STEADY, target=None, request=None, because=because)
        return Decision(because, (Propose(steady, view.topology_revision, (Note("SwitchoverCalledOff", because),)),))
    if not lined_up(view, topology):
        at_s = view.topology_seen_at_s + LINE_UP_LEASES * view.timers.lease_s
        return Decision(f"the other standbys line up behind {target}", retry_at_s=at_s)
    return Decision(f"{view.me} drains for {target}", retry_at_s=call_off_at_s)


def drained(instance: InstanceStatus, topology: Topology) -> bool:
    """Whether the old primary stopped cleanly by order, and did not start again but to follow the target."""
    if instance.order == follow(topology):
        return instance.role is not Role.PRIMARY
    return instance.order == Order(topology.epoch, Role.STOPPED) and instance.settled and instance.role is Role.STOPPED


def follow(topology: Topology) -> Order:
    """Return what the old primary does next, without waiting for the target to be named: time is writes."""
    return Order(topology.epoch, Role.STANDBY, upstream=topology.target)


def hand_back(view: View, topology: Topology) -> Decision | None:
    """Return the target's refusal, when it does not hold all that the old primary wrote."""
    instance = view.instance
    if topology.handover_lsn is None or topology.deposed is None or instance is None or instance.wal is None:
        return None
    if instance.role is Role.PRIMARY or instance.wal.lsn >= topology.handover_lsn:
        return None
    if view.now_s < view.topology_seen_at_s + view.timers.lease_s / 2:
        return Decision("waiting for the end of the old primary's WAL")
    because = f"{view.me} lacks the end of the WAL of {topology.deposed} and hands back"
    back = replace(
        topology,
        epoch=topology.epoch + 1,
        primary=topology.deposed,
        deposed=None,
        handover_lsn=None,
        because=because,
        request=None,
    )
    return Decision(because, (Propose(back, view.topology_revision, (Note("SwitchoverHandedBack", because),)),))


def holds_handover(view: View, topology: Topology) -> bool:
    """Whether this region's instance may promote: it holds the old primary's WAL to its end."""
    if topology.handover_lsn is None:
        return True
    instance = view.instance
    if instance is None or instance.wal is None:
        return False
    return instance.role is Role.PRIMARY or instance.wal.lsn >= topology.handover_lsn
