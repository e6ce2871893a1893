"""Out of service: cut from every upstream with everything replayed (DETACHED), or stopped cleanly (STOPPED)."""

from dataclasses import replace

from leeward.core.values import Order
from leeward.instance.machine import recovery
from leeward.instance.machine.pace import STEADY_S, STOP_TIMEOUT_S
from leeward.instance.machine.steps import Checkpoint, Configure, Cut, Decision, ProvideSlots, ReadEnd, Stop
from leeward.instance.machine.values import Duty, Ended, Situation


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
    memory, replaying = recovery.replay(situation, seen)
    if replaying is not None:
        return replaying
    slots = None
    if situation.missing_slots or situation.stale_slots:
        slots = ProvideSlots(situation.missing_slots, situation.stale_slots)
    return replace(cut, settled=True, state=recovery.remembered(state, seen), memory=memory, step=slots)


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
