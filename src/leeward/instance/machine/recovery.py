"""Bringing PostgreSQL into recovery, whatever it was before: shared by STANDBY and DETACHED."""

from dataclasses import replace

from leeward.instance.machine.pace import AT_ONCE_S, LOOK_TWICE_S, REPLAY_IDLE_S, SOON_S
from leeward.instance.machine.steps import Decision, FreeReplay, Kill, Start
from leeward.instance.machine.values import Duty, Memory, Observation, Situation, State


def enter(situation: Situation, duty: Duty) -> Decision | None:
    """Return the step that brings PostgreSQL up in recovery, with ``duty`` if it has to be started; None when it is.

    A running primary is killed: it is deposed, nothing of it may be acknowledged any more.
    """
    state, memory = situation.state, situation.memory
    # Also one that was ordered to promote and has not yet: its standby.signal is still there.
    if situation.running and (situation.may_write or not situation.recovery_signal):
        return Decision(
            activity="stopping: no longer the primary", step=Kill(), state=state, memory=memory, again_s=0.0
        )
    if not situation.running:
        return Decision(
            activity="starting in recovery",
            step=Start(duty, recovery=True),
            state=replace(state, stopped_wal=None),
            memory=replace(
                memory,
                unbroken=state.stopped_wal is not None,
                led_and_restarted=state.writable_epoch is not None,
                stopped_by_guard=False,
            ),
            again_s=SOON_S,
        )
    if situation.seen is None:
        return Decision(activity="starting in recovery", state=state, memory=memory, again_s=SOON_S)
    return None


def entered(situation: Situation) -> Situation:
    """Return the situation with what being in recovery, and answering, proves of a copy."""
    state = situation.state
    if state.copied_from is not None:
        state = replace(state, initialised=True, copied_from=None, writable_epoch=None)
    return replace(situation, state=state)


def remembered(state: State, seen: Observation) -> State:
    """Return the state after all WAL here is replayed.

    Where there is data and no state, the file was lost, and with it whether the newest epoch here was its own. Before
    that is replayed the newest one is not known: after a crash PostgreSQL answers when it is consistent, which may be
    far ahead of the end of its WAL.
    """
    return state if state.initialised else replace(state, initialised=True, writable_epoch=seen.epoch)


def replay(situation: Situation, seen: Observation) -> tuple[Memory, Decision | None]:
    """Return what is known of replay, and the decision to wait for it; None once all WAL here is replayed.

    For an instance that is connected to no upstream.
    """
    memory, replayed = _all_replayed(situation.memory, seen, situation.now_s)
    if replayed:
        return memory, None
    first = memory.replay_idle_since != situation.memory.replay_idle_since
    return memory, Decision(
        activity="replaying",
        step=FreeReplay() if seen.replay_blocked else None,
        state=situation.state,
        memory=memory,
        again_s=LOOK_TWICE_S if first else AT_ONCE_S,
    )


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


def connected(situation: Situation) -> bool:
    """Whether anything is, or may get, connected to an upstream."""
    duty = situation.duty
    return duty is None or duty.upstream is not None or situation.seen is None or bool(situation.seen.receivers)
