"""Situations of an instance manager, each from one that is complete and quiet."""

from dataclasses import replace
from typing import Any

from leeward.core.values import Order, Region, Role, Sender, Synchronous, SynchronousMethod
from leeward.instance.machine.lineage import Lineage
from leeward.instance.machine.values import Duty, Memory, Observation, Situation, State

US, EU, AP = Region("us"), Region("eu"), Region("ap")
ANY_ONE = Synchronous(SynchronousMethod.ANY, 1, (EU, AP))
LEASE_S = 2.0
NEW, NOTHING = State(), Memory()


def seen(**changes: Any) -> Observation:
    """A standby that replayed all it received."""
    standby = Observation(
        in_recovery=True,
        flushed_lsn=None,
        received_lsn=100,
        replayed_lsn=100,
        epoch=1,
        synchronous_names="",
        upstream_conninfo="",
        receivers=(),
        streaming_from=None,
        replay_idle=True,
        replay_blocked=False,
        slots=(),
        senders=(),
    )
    return replace(standby, **changes)


PRIMARY = seen(in_recovery=False, flushed_lsn=100, received_lsn=None, replayed_lsn=None)


def order(role: Role, epoch: int = 1, **changes: Any) -> Order:
    return replace(Order(epoch, role), **changes)


def situation(wanted: Order | None, *, state: State = NEW, memory: Memory = NOTHING, **changes: Any) -> Situation:
    """PostgreSQL runs in recovery, cut, and has done nothing else since its manager started."""
    base = Situation(
        now_s=100.0,
        upstreams=frozenset((EU, AP)),
        state=replace(state, order=wanted, epoch=0 if wanted is None else wanted.epoch, initialised=True),
        memory=memory,
        running=True,
        stopping=False,
        seen=seen(),
        streaming_from=None,
        has_data=True,
        recovery_signal=True,
        duty=Duty(),
        may_write=False,
        lease_s=LEASE_S,
        closed=False,
    )
    return replace(base, **changes)


def leading(wanted: Order, **changes: Any) -> Situation:
    """PostgreSQL runs as a primary without sessions of the application."""
    base: dict[str, Any] = {
        "seen": PRIMARY,
        "recovery_signal": False,
        "may_write": True,
        "closed": True,
        "duty": Duty(synchronous=wanted.synchronous, admits=False),
    }
    return situation(wanted, **(base | changes))


def lineage(*segments: tuple[int, int], epochs: tuple[int, ...] = (1,), recovery: bool = False) -> Lineage:
    return Lineage("one", segments, frozenset(epochs), recovery, segments[-1][1] if recovery else 0)


def sender(region: Region) -> Sender:
    return Sender(region, True, 100, 100, True)
