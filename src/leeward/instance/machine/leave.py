"""Giving up the local history for the upstream's: cut, save orphaned writes, stop, rewind or copy.

Always true: orphaned writes are saved, and what could not be read is reported, before anything is overwritten.
"""

from dataclasses import replace

from leeward.core.values import Order
from leeward.instance.machine import recovery
from leeward.instance.machine.pace import REJOIN_STOP_TIMEOUT_S
from leeward.instance.machine.steps import Copy, Cut, Decision, KeepData, Rewind, SaveOrphans, Stop
from leeward.instance.machine.values import Duty, Leaving, Situation


def decide(situation: Situation, order: Order, leaving: Leaving) -> Decision:
    """Return the next step of the rejoin."""
    state, memory, upstream = situation.state, situation.memory, leaving.upstream
    leave = Decision(
        activity=f"abandoning local history: {leaving.verdict.because}", state=state, memory=memory, again_s=0.0
    )
    if not leaving.stopped:
        if not situation.running:
            # It exited unasked: start over with the comparison.
            return replace(leave, memory=replace(memory, leaving=None))
        if recovery.connected(situation):
            return replace(leave, step=Cut(Duty(synchronous=order.synchronous)))
        if leaving.orphans_epoch is not None and not leaving.orphans_saved:
            step = SaveOrphans(leaving.own, leaving.verdict.fork_lsn, leaving.orphans_epoch)
            return replace(leave, activity="saving orphaned writes", problem=memory.problem, step=step)
        return replace(leave, activity="stopping to rejoin", step=Stop(REJOIN_STOP_TIMEOUT_S))
    if leaving.keep_data:
        return replace(leave, activity="keeping the whole data directory", step=KeepData(leaving.orphans_epoch))
    if leaving.verdict.rewindable and memory.rewind_failed != (order.epoch, upstream):
        return replace(
            leave,
            activity=f"rewinding to {upstream}",
            step=Rewind(upstream),
            state=replace(state, incomplete=True),
        )
    return replace(leave, activity=f"copying from {upstream}", step=Copy(upstream))
