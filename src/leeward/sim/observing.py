"""What a simulated instance manager sees: what it answers its agent, and what its machine decides on."""

from typing import TYPE_CHECKING

from leeward.core.values import InstanceStatus, Order, Orphans, Role, Sender
from leeward.instance.machine.values import Observation, Situation

if TYPE_CHECKING:
    from leeward.sim.database import Instance


def status(instance: "Instance") -> InstanceStatus:
    """Return what the instance manager answers its agent now."""
    server, state, memory, order = instance.postgres, instance.state, instance.memory, instance.state.order
    seen = server.answers
    wal = server.history.position if seen else None
    if server.role is Role.STOPPED:
        wal = state.stopped_wal
    return InstanceStatus(
        clock_s=instance.clock(),
        incarnation=instance.incarnation,
        epoch=state.epoch,
        role=server.role if seen else Role.STOPPED,
        order=order,
        settled=memory.settled,
        activity=instance.activity,
        writable=instance.writable,
        proved=order is not None and memory.proved_epoch == order.epoch,
        wal=wal,
        replayed_lsn=len(server.history) if seen else None,
        upstream=server.upstream if seen else None,
        senders=_senders(instance) if seen else (),
        lease_until_s=None if instance.lease is None else instance.lease.until_s,
        problem=instance.problem,
        orphans=tuple(Orphans(epoch, len(keys), len(keys), "") for epoch, keys in instance.orphans),
        rejoined=memory.rejoined,
        revision=state.revision,
        accepted=state.accepted,
        has_data=instance.hands.has_data,
    )


def _senders(instance: "Instance") -> tuple[Sender, ...]:
    synchronous = instance.postgres.commits.names
    members = () if synchronous is None else synchronous.members
    return tuple(
        Sender(region, one.streaming, one.flushed, one.flushed, region in members)
        for region, one in instance.postgres.receivers.items()
        if one.flushed is not None
    )


def situation(instance: "Instance") -> Situation:
    """Return everything that its next decision is made from."""
    server, hands, order = instance.postgres, instance.hands, instance.state.order
    return Situation(
        now_s=instance.clock(),
        upstreams=frozenset(region for region in instance.peers if region != instance.region),
        state=instance.state,
        memory=instance.memory,
        running=server.role is not Role.STOPPED or hands.starting,
        stopping=server.closing,
        seen=_observe(instance),
        streaming_from=server.upstream,
        has_data=hands.has_data,
        recovery_signal=hands.recovery_signal,
        duty=hands.duty,
        may_write=instance.may_write,
        lease_s=_lease_s(instance, order),
        closed=hands.closed,
        wal_removed=order is not None and order.upstream in server.without_wal,
        rewind_unchanged=hands.unchanged,
    )


def _lease_s(instance: "Instance", order: Order | None) -> float:
    if order is None or instance.lease is None or instance.lease.epoch != order.epoch:
        return 0.0
    return instance.lease.until_s - instance.clock()


def _observe(instance: "Instance") -> Observation | None:
    server = instance.postgres
    if not server.answers:
        return None
    length, recovery = len(server.history), server.role is not Role.PRIMARY
    return Observation(
        in_recovery=recovery,
        flushed_lsn=None if recovery else length,
        received_lsn=length if recovery else None,
        replayed_lsn=length if recovery else None,
        epoch=server.history.position.epoch,
        synchronous_names="",
        upstream_conninfo=server.follows or "",
        receivers=() if server.follows is None else (1,),
        streaming_from=None,
        replay_idle=True,
        replay_blocked=False,
        slots=(),
        senders=(),
    )
