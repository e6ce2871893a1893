"""Apply a step's outcome to the state and the memory that the next decision starts from."""

from dataclasses import replace
from typing import assert_never

from leeward.core.values import RejoinMethod
from leeward.instance.machine.lineage import Compatible, Diverged, Foreign, Undecided, compare
from leeward.instance.machine.pace import FOREIGN_S, RETRY_S
from leeward.instance.machine.steps import (
    Checkpoint,
    CloseAdmission,
    Compare,
    Compared,
    Copied,
    Copy,
    Done,
    EndRead,
    Failed,
    Initialise,
    KeepData,
    Kept,
    NeighboursAnswered,
    OrphansSaved,
    Outcome,
    ReadEnd,
    Rewind,
    Start,
    Step,
    Stop,
)
from leeward.instance.machine.values import Leaving, Memory, PendingRejoin, State

Learned = tuple[State, Memory]


def learn(state: State, memory: Memory, step: Step, outcome: Outcome, now_s: float) -> Learned:
    """Apply the outcome of a step that was not interrupted by a newer order."""
    match outcome:
        case Failed():
            return _failed(state, memory, step, outcome, now_s)
        case Done():
            return _done(state, replace(memory, problem=None), step)
        case NeighboursAnswered():
            return state, replace(memory, neighbours=outcome.has_data, problem=None)
        case EndRead():
            ended = memory.ended
            wal = None if ended is None or outcome.end_lsn is None else replace(ended.position, lsn=outcome.end_lsn)
            return replace(state, stopped_wal=wal), replace(memory, ended=None, problem=None)
        case OrphansSaved():
            leaving, back = memory.leaving, memory.pending_rejoin
            if leaving is not None:
                leaving = replace(leaving, orphans_saved=True, keep_data=outcome.keep_data)
            if back is not None:
                back = replace(
                    back,
                    orphaned=outcome.transactions,
                    unread=outcome.unread_tables,
                    unread_first=outcome.unread_first,
                )
            return state, replace(memory, leaving=leaving, pending_rejoin=back, problem=None)
        case Kept():
            back = _without_local_data(outcome.path)
            state = replace(state, initialised=True, incomplete=True, set_aside=outcome.path)
            return state, replace(memory, unusable=False, inconsistent=False, pending_rejoin=back, problem=None)
        case Copied():
            return _copied(state, memory, step, outcome)
        case Compared():
            return _compared(state, memory, step, outcome, now_s)
        case _:
            assert_never(outcome)


def _done(state: State, memory: Memory, step: Step) -> Learned:
    match step:
        case Initialise():
            return replace(state, initialised=True), memory
        case Start():
            return state, replace(
                memory,
                recorded_epoch=None,
                waited=None,
                proved_epoch=None,
                admitted_epoch=None,
                restart_closed=False,
                written_at_s=None,
                stalled=False,
            )
        case Checkpoint():
            return state, replace(memory, checkpointed=True)
        case Stop():
            leaving = None if memory.leaving is None else replace(memory.leaving, stopped=True)
            return state, replace(memory, leaving=leaving, unbroken=False, starting_since_s=None, failing_since_s=None)
        case KeepData():
            return state, replace(memory, leaving=None)
        case _:
            return state, memory


def _failed(state: State, memory: Memory, step: Step, outcome: Failed, now_s: float) -> Learned:
    memory = replace(memory, problem=outcome.problem)
    match step:
        case Compare(upstream=upstream):
            problem = None if memory.settled else f"cannot query {upstream}: {outcome.problem}"
            return state, replace(memory, problem=problem, undecided=problem, compare_after_s=now_s + RETRY_S)
        case CloseAdmission():
            return state, replace(memory, restart_closed=True)
        case ReadEnd():
            return state, replace(memory, ended=None)
        case Rewind(upstream=upstream):
            return state, replace(memory, leaving=None, rewind_failed=(state.epoch, upstream))
        case _:
            return state, memory


def _copied(state: State, memory: Memory, step: Step, outcome: Copied) -> Learned:
    assert isinstance(step, Rewind | Copy), "only these transfer data"
    method = RejoinMethod.REWIND if isinstance(step, Rewind) else RejoinMethod.COPY
    back = memory.pending_rejoin
    if back is None and state.set_aside:
        # The manager was started again since.
        back = _without_local_data(state.set_aside)
    if back is not None:
        back = replace(back, method=method, copied_bytes=outcome.copied_bytes)
    state = replace(
        state,
        initialised=True,
        incomplete=False,
        copied_from=step.upstream,
        writable_epoch=None,
        stopped_wal=None,
        set_aside="",
    )
    return state, replace(memory, leaving=None, rewind_failed=None, pending_rejoin=back, problem=None)


def _without_local_data(kept: str) -> PendingRejoin:
    return PendingRejoin(f"PostgreSQL did not start on the local data, which is kept in {kept}")


def _compared(state: State, memory: Memory, step: Step, outcome: Compared, now_s: float) -> Learned:
    assert isinstance(step, Compare), "only this compares"
    order, upstream = state.order, step.upstream
    assert order is not None, "histories are compared by order"
    memory = replace(memory, problem=None, undecided=None, foreign=False, compare_after_s=now_s + RETRY_S)
    verdict = compare(outcome.own, outcome.theirs, epoch=order.epoch, promoted_under=state.writable_epoch)
    match verdict:
        case Compatible():
            back = memory.pending_rejoin
            if memory.led_and_restarted and back is None:
                back = PendingRejoin("")
            return state, replace(
                memory,
                pending_rejoin=back,
                led_and_restarted=False,
                trusted=(order.epoch, upstream),
                compare_after_s=0.0,
            )
        case Undecided(because=because):
            return state, replace(memory, undecided=because)
        case Foreign():
            return state, replace(memory, foreign=True, unbroken=False, trusted=None, compare_after_s=now_s + FOREIGN_S)
        case Diverged(because=because):
            led = state.writable_epoch
            # Following a replica that holds our writes proves nothing: another one may be elected that does not. A
            # later epoch in our history does: everything of ours is before it.
            newest = max(outcome.own.epochs, default=0)
            orphans_epoch = led if led is not None and led >= newest else None
            leaving = Leaving(upstream, outcome.own, verdict, orphans_epoch)
            return state, replace(
                memory,
                leaving=leaving,
                pending_rejoin=PendingRejoin(because),
                unbroken=False,
                settled=False,
                trusted=None,
            )
        case _:
            assert_never(verdict)
