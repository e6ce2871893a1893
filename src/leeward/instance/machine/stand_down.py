"""Out of service: cut from every upstream with everything replayed (DETACHED), or stopped cleanly (STOPPED)."""

from dataclasses import replace

from leeward.core.values import Order
from leeward.instance.machine import recovery
from leeward.instance.machine.pace import AT_ONCE_S, LOOK_TWICE_S, REPLAY_IDLE_S, STEADY_S, STOP_TIMEOUT_S
from leeward.instance.machine.steps import Checkpoint, Configure, Cut, Decision, FreeReplay, ProvideSlots, ReadEnd, Stop
from leeward.instance.machine.values import Duty, Ended, Memory, Observation, Situation


def detach(situation: Situation, order: Order) -> Decision:
    """Return the next step towards DETACHED: in recovery, connected to no upstream, all that arrived replayed."""
    if not situation.has_data or situation.state.incomplete:
        return Decision(
            activity="cut",
            problem="no complete local copy of the data",
            state=situation.state,
            memory=situation.memory,
            again_s=STEADY_S,
        )
    duty = Duty(synchronous=order.synchronous)
    entering = recovery.enter(situation, duty)
    if entering is not None:
        source = situation.state.copied_from
        if source is None or entering.step is not None:
            return entering
        return replace(entering, problem=f"not consistent until it streams from {source}")
    situation = recovery.entered(situation)
    state, memory, seen = situation.state, situation.memory, situation.seen
    assert seen is not None, "it answers in recovery"
    cut = Decision(activity="cut", state=state, memory=memory, again_s=STEADY_S)
    if recovery.connected(situation):
        return replace(cut, activity="cutting", step=Cut(duty))
    if situation.duty != duty:
        return replace(cut, step=Configure(duty))
    memory, replayed = _all_replayed(memory, seen, situation.now_s)
    if not replayed:
        first = memory.replay_idle_since != situation.memory.replay_idle_since
        free = FreeReplay() if seen.replay_blocked else None
        return replace(
            cut, activity="replaying", memory=memory, step=free, again_s=LOOK_TWICE_S if first else AT_ONCE_S
        )
    slots = None
    if situation.missing_slots or situation.stale_slots:
        slots = ProvideSlots(situation.missing_slots, situation.stale_slots)
    return replace(cut, settled=True, memory=memory, step=slots)


def _all_replayed(memory: Memory, seen: Observation, now_s: float) -> tuple[Memory, bool]:
    """Whether all WAL here is replayed.

    After a restart PostgreSQL does not report how much it had received: then two observations must find replay idle.
    """
    replayed_lsn, since = seen.replayed_lsn or 0, memory.replay_idle_since
    if seen.received_lsn is not None and replayed_lsn >= seen.received_lsn:
        return memory, True
    if not seen.replay_idle or since is None or since[0] != replayed_lsn:
        return replace(memory, replay_idle_since=(replayed_lsn, now_s) if seen.replay_idle else None), False
    if seen.received_lsn is None:
        return memory, True
    # What was received may end inside a record, which can never be replayed.
    return memory, now_s - since[1] >= REPLAY_IDLE_S


def stop(situation: Situation) -> Decision:
    """Return the next step towards STOPPED: a checkpoint while still serving, a fast stop, the end of the WAL."""
    state, memory, seen = situation.state, situation.memory, situation.seen
    stopped = Decision(activity="stopped", state=state, memory=memory, again_s=STEADY_S)
    if not situation.running:
        ended = memory.ended
        if ended is None:
            clean = state.stopped_wal is not None or not situation.has_data
            return replace(stopped, settled=True, problem=None if clean else "PostgreSQL was not shut down cleanly")
        if ended.was_primary:
            return replace(stopped, activity="reading the end of the WAL", step=ReadEnd())
        known = replace(state, stopped_wal=ended.position)
        return replace(stopped, state=known, memory=replace(memory, ended=None), again_s=0.0)
    if seen is not None and not seen.in_recovery and not memory.checkpointed:
        return replace(stopped, activity="checkpointing before the stop", step=Checkpoint())
    before = None if seen is None else Ended(seen.position, was_primary=not seen.in_recovery)
    return replace(
        stopped,
        activity="stopping",
        step=Stop(STOP_TIMEOUT_S),
        memory=replace(memory, ended=before or memory.ended),
    )
