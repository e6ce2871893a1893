"""Bringing PostgreSQL into recovery, whatever it was before: shared by STANDBY and DETACHED."""

from dataclasses import replace

from leeward.instance.machine.pace import SOON_S
from leeward.instance.machine.steps import Decision, Kill, Start
from leeward.instance.machine.values import Duty, Situation


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
    """Return the situation with what being in recovery, and answering, proves."""
    state, seen = replace(situation.state, initialised=True), situation.seen
    if not situation.state.initialised and state.copied_from is None and seen is not None:
        # There is data and no state: the file was lost, and with it whether the newest epoch here was its own.
        state = replace(state, writable_epoch=seen.epoch)
    if state.copied_from is not None:
        state = replace(state, copied_from=None, writable_epoch=None)
    return replace(situation, state=state)


def connected(situation: Situation) -> bool:
    """Whether anything is, or may get, connected to an upstream."""
    duty = situation.duty
    return duty is None or duty.upstream is not None or situation.seen is None or bool(situation.seen.receivers)
