"""The role STANDBY: get onto the upstream's history, by rewind or copy if necessary, and stream."""

from dataclasses import replace

from leeward.core.values import Order, Region, Rejoin
from leeward.instance.machine import leave, recovery
from leeward.instance.machine.pace import ATTACHED_S, CONSISTENCY_S, FAILING_S, PATIENCE_S, RETRY_S, SOON_S, STEADY_S
from leeward.instance.machine.steps import Compare, Configure, Copy, Cut, Decision, Kill, ProvideSlots, SetAside
from leeward.instance.machine.values import Duty, Memory, PendingRejoin, Situation

_UNUSABLE = "PostgreSQL does not start on the local data, neither alone nor with the upstream's WAL"


def decide(situation: Situation, order: Order) -> Decision:
    """Return the next step towards the role STANDBY, or within it."""
    upstream = order.upstream
    if upstream is None or upstream not in situation.upstreams:
        return Decision(
            activity="waiting",
            problem=f"unknown upstream {upstream}",
            state=situation.state,
            memory=situation.memory,
            again_s=STEADY_S,
        )
    memory = situation.memory
    if memory.ordered_follow != (order.epoch, upstream):
        memory = replace(memory, ordered_follow=(order.epoch, upstream), ordered_follow_at_s=situation.now_s)
        situation = replace(situation, memory=memory)
    if memory.leaving is not None:
        return leave.decide(situation, order, memory.leaving)
    source = situation.state.copied_from
    if situation.wal_removed and (source == upstream or memory.trusted == (order.epoch, upstream)):
        # Our history is part of theirs, so nothing is lost with it.
        back = memory.pending_rejoin or PendingRejoin(f"{upstream} no longer has the WAL this instance needs")
        return _copy(replace(situation, memory=replace(memory, pending_rejoin=back)), upstream)
    if not situation.has_data or situation.state.incomplete or source not in (None, upstream):
        return _copy(situation, upstream)
    if memory.unusable and not situation.state.initialised:
        return _set_aside(situation)
    entering = _enter(situation, order, upstream)
    if entering is not None:
        return entering
    situation, replaying = _entered(situation)
    if replaying is not None:
        return replaying
    attached = situation.duty is not None and situation.duty.upstream == upstream
    if not memory.foreign and (memory.trusted == (order.epoch, upstream) or memory.unbroken or attached):
        return _stream(situation, order, upstream)
    return _join(situation, order, upstream)


def _enter(situation: Situation, order: Order, upstream: Region) -> Decision | None:
    """Return the decision on the way into recovery; None once PostgreSQL answers in it.

    A fresh copy is not consistent, and answers no query, until it has streamed.
    """
    source, memory = situation.state.copied_from, situation.memory
    duty = Duty(upstream=upstream if memory.inconsistent else source, synchronous=order.synchronous)
    entering = recovery.enter(situation, duty)
    if entering is None:
        return None
    if entering.step is None and duty.upstream is not None and situation.duty != duty:
        return replace(entering, step=Kill())
    if situation.state.initialised or source is not None:
        return entering
    return _await_consistency(entering, situation, upstream)


def _entered(situation: Situation) -> tuple[Situation, Decision | None]:
    """Return the situation with what answering in recovery proves, and the decision to wait until all is replayed.

    Data without a state is waited for: which epoch was its own is not known before.
    """
    seen, situation = situation.seen, recovery.entered(situation)
    assert seen is not None, "it answers in recovery"
    memory = replace(situation.memory, starting_since_s=None, failing_since_s=None, inconsistent=False)
    situation = replace(situation, memory=memory)
    if situation.state.initialised:
        return situation, None
    if not recovery.connected(situation):
        memory, replaying = recovery.replay(situation, seen)
        if replaying is not None:
            return situation, replaying
    state = recovery.remembered(situation.state, seen)
    return replace(situation, state=state, memory=memory), None


def _await_consistency(entering: Decision, situation: Situation, upstream: Region) -> Decision:
    """Decide for data whose state was lost: it is unknown whether it is a copy that lacks WAL of its source.

    Local WAL is replayed before anything is streamed, and PostgreSQL refuses to stream where it sees that histories
    forked. It does not see that where both sides began a timeline of the same number: then WAL that holds orphans may
    be overwritten, as tests/instance/test_namesakes.py met it before histories were compared by epochs.
    """
    memory, now_s = entering.memory, situation.now_s
    if entering.step is not None:
        failing_since_s = now_s if memory.failing_since_s is None else memory.failing_since_s
        memory = replace(memory, starting_since_s=None, failing_since_s=failing_since_s)
        if now_s - failing_since_s >= FAILING_S:
            return _give_up(replace(entering, memory=memory))
        return replace(entering, memory=memory)
    since_s = now_s if memory.starting_since_s is None else memory.starting_since_s
    if memory.inconsistent and situation.streaming_from == upstream:
        # It gets what it lacks.
        since_s, memory = now_s, replace(memory, failing_since_s=None)
    memory = replace(memory, starting_since_s=since_s)
    late = now_s - since_s >= CONSISTENCY_S
    if memory.inconsistent and (now_s - since_s >= ATTACHED_S or situation.wal_removed):
        return _give_up(replace(entering, memory=memory))
    if not late or memory.inconsistent:
        return replace(entering, memory=memory)
    problem = "PostgreSQL cannot become consistent with the local WAL"
    return replace(entering, memory=replace(memory, inconsistent=True, starting_since_s=None), problem=problem)


def _give_up(entering: Decision) -> Decision:
    memory = replace(entering.memory, unusable=True, starting_since_s=None, failing_since_s=None)
    return replace(entering, step=None, memory=memory, problem=_UNUSABLE, again_s=0.0)


def _set_aside(situation: Situation) -> Decision:
    return Decision(
        activity="setting the local data aside",
        problem=situation.memory.problem or _UNUSABLE,
        step=Kill() if situation.running else SetAside(),
        state=situation.state,
        memory=situation.memory,
        again_s=0.0,
    )


def _copy(situation: Situation, upstream: Region) -> Decision:
    return Decision(
        activity=f"copying from {upstream}",
        problem=situation.memory.problem,
        step=Kill() if situation.running else Copy(upstream),
        state=situation.state,
        memory=situation.memory,
        again_s=0.0,
    )


def _stream(situation: Situation, order: Order, upstream: Region) -> Decision:
    """Stream; a standby whose replication was not interrupted attaches first and compares afterwards, to save time."""
    state, memory, now_s = situation.state, situation.memory, situation.now_s
    connecting = Decision(activity=f"connecting to {upstream}", state=state, memory=memory, again_s=SOON_S)
    # It carries the names before it is ever promoted: commits wait by what the checkpointer has loaded.
    duty = Duty(upstream=upstream, synchronous=order.synchronous)
    if situation.duty != duty:
        memory = replace(memory, idle_since_s=None)
        return replace(connecting, memory=memory, step=Configure(duty))
    if situation.missing_slots or situation.stale_slots:
        return replace(connecting, step=ProvideSlots(situation.missing_slots, situation.stale_slots))
    if situation.streaming_from != upstream:
        since_s = now_s if memory.idle_since_s is None else memory.idle_since_s
        memory = replace(memory, idle_since_s=since_s)
        if now_s - since_s < PATIENCE_S and not situation.wal_removed:
            return replace(connecting, memory=memory)
        problem = memory.undecided or f"not streaming from {upstream} for {now_s - since_s:.0f} s"
        compare = Compare(upstream) if now_s >= memory.compare_after_s else None
        return replace(connecting, memory=memory, problem=problem, step=compare)
    memory = replace(
        memory,
        idle_since_s=None,
        unbroken=True,
        undecided=None,
        streams_since_s=memory.streams_since_s if memory.settled else now_s,
    )
    trusted = memory.trusted == (order.epoch, upstream)
    memory = _note_rejoin(memory, order, upstream)
    return Decision(
        activity=f"streaming from {upstream}",
        settled=True,
        step=None if trusted or now_s < memory.compare_after_s else Compare(upstream),
        state=state,
        memory=memory,
        again_s=STEADY_S,
    )


def _note_rejoin(memory: Memory, order: Order, upstream: Region) -> Memory:
    """Record a rejoin that has just completed."""
    back = memory.pending_rejoin
    if back is None:
        return memory
    rejoin = Rejoin(
        epoch=order.epoch,
        upstream=upstream,
        method=back.method,
        because=back.because,
        copied_bytes=back.copied_bytes,
        orphaned=back.orphaned,
        unread=back.unread,
        unread_first=back.unread_first,
        took_s=round(memory.streams_since_s - memory.ordered_follow_at_s, 2),
    )
    return replace(memory, pending_rejoin=None, rejoined=rejoin)


def _join(situation: Situation, order: Order, upstream: Region) -> Decision:
    """Compare histories while connected to no upstream."""
    memory, now_s = situation.memory, situation.now_s
    joining = Decision(
        activity=f"comparing histories with {upstream}",
        problem=memory.problem,
        state=situation.state,
        memory=memory,
        again_s=RETRY_S,
    )
    if recovery.connected(situation):
        return replace(joining, step=Cut(Duty(synchronous=order.synchronous)))
    if now_s >= memory.compare_after_s:
        return replace(joining, step=Compare(upstream))
    wait_s = memory.compare_after_s - now_s
    if memory.foreign:
        problem = f"{upstream} holds another database: refusing to replace ours"
        return replace(joining, activity="cut", problem=problem, again_s=wait_s)
    if memory.undecided is not None:
        return replace(joining, activity=f"waiting for {upstream}", problem=memory.undecided, again_s=wait_s)
    return replace(joining, again_s=wait_s)
