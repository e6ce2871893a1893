"""Being the primary: under a lease, with its epoch recorded, and never before both are possible.

The application is admitted after the record of the epoch is in the WAL, and, in the synchronous modes, after a commit
was seen waiting for the standbys named. WAL is flushed in order, so whoever acknowledges a later write of the
application holds the record too (decision 21). Always true: no write of the application precedes the record of the
epoch it is acknowledged under.
"""

from dataclasses import replace

from leeward.core.values import Order
from leeward.instance.machine.pace import AT_ONCE_S, LEASE_MIN_S, NEIGHBOURS_S, SOON_S, STEADY_S, WRITE_STALL_S
from leeward.instance.machine.steps import (
    AskNeighbours,
    CloseAdmission,
    Configure,
    Decision,
    Initialise,
    Kill,
    Promote,
    ProvideSlots,
    Start,
)
from leeward.instance.machine.values import Duty, Proof, Situation


def decide(situation: Situation, order: Order) -> Decision:
    """Return the next step towards the role PRIMARY, or within it."""
    state, memory, seen = situation.state, situation.memory, situation.seen
    if not situation.has_data:
        return _initialise(situation, order)
    if state.incomplete:
        return Decision(
            activity="waiting",
            problem="no complete local copy of the data",
            state=state,
            memory=memory,
            again_s=STEADY_S,
        )
    if not situation.running:
        return _start(situation, order)
    if seen is None:
        return Decision(activity="starting", state=state, memory=memory, again_s=SOON_S)
    if seen.in_recovery:
        return _promote(situation, order)
    return _lead(situation, order)


def _initialise(situation: Situation, order: Order) -> Decision:
    """Return the step towards a database where no data exists: one is created only by order, and only once.

    That no other region reports data proves nothing: its PostgreSQL may be down. The topology shows whether the
    application has ever had a database, so the order carries that.
    """
    state, memory = situation.state, situation.memory
    waiting = Decision(activity="waiting", state=state, memory=memory, again_s=STEADY_S)
    if state.initialised:
        return replace(waiting, problem="the data directory is missing; it must be copied from a standby")
    if not order.founding:
        return replace(waiting, problem="no local data, but the application already has a database: a copy is needed")
    if memory.neighbours is None:
        return replace(waiting, activity="asking the other regions whether they have data", step=AskNeighbours())
    elsewhere = [region for region, has in memory.neighbours if has]
    silent = [region for region, has in memory.neighbours if has is None]
    if not elsewhere and not silent:
        return replace(waiting, activity="creating the database", step=Initialise())
    problem = (
        f"no local data, but {', '.join(elsewhere)} has data: refusing to create a new database"
        if elsewhere
        else f"no local data, and {', '.join(silent)} cannot confirm that it has none: not creating a database yet"
    )
    return replace(waiting, problem=problem, memory=replace(memory, neighbours=None), again_s=NEIGHBOURS_S)


def _start(situation: Situation, order: Order) -> Decision:
    state, memory = situation.state, situation.memory
    duty = Duty(synchronous=order.synchronous, admits=False)
    if situation.recovery_signal:
        # Harmless without a lease, and the promotion is instant once there is one.
        return Decision(
            activity="starting in recovery",
            step=Start(duty, recovery=False),
            state=replace(state, stopped_wal=None),
            memory=memory,
            again_s=SOON_S,
        )
    if situation.lease_s < LEASE_MIN_S:
        return _wait_for_lease(situation, STEADY_S)
    return Decision(
        activity="starting",
        step=Start(duty, recovery=False),
        state=replace(state, stopped_wal=None, writable_epoch=order.epoch, initialised=True),
        memory=replace(memory, stopped_by_guard=False),
        guarded=True,
        again_s=SOON_S,
    )


def _promote(situation: Situation, order: Order) -> Decision:
    state, memory, duty = situation.state, situation.memory, situation.duty
    preparing = Decision(activity="preparing the promotion", state=state, memory=memory, again_s=0.0)
    if duty is None or (duty.upstream, duty.synchronous) != (None, order.synchronous):
        return replace(preparing, step=Configure(Duty(synchronous=order.synchronous)))
    if situation.lease_s < LEASE_MIN_S:
        # Until it can be promoted it serves readers.
        return replace(preparing, activity="waiting for a lease", again_s=AT_ONCE_S)
    closing = _close(situation, order, preparing)
    if closing is not None:
        return closing
    return replace(
        preparing,
        activity="promoting",
        step=Promote(),
        state=replace(state, writable_epoch=order.epoch, initialised=True, copied_from=None),
        memory=replace(memory, stopped_by_guard=False),
        guarded=True,
    )


def _close(situation: Situation, order: Order, preparing: Decision) -> Decision | None:
    """Return the step that brings PostgreSQL's names up to the order and leaves no session of the application."""
    memory, duty = situation.memory, Duty(synchronous=order.synchronous, admits=False)
    if memory.restart_closed:
        return replace(preparing, step=Kill(), memory=replace(memory, restart_closed=False))
    if situation.duty != duty:
        return replace(preparing, step=Configure(duty))
    if not situation.closed:
        return replace(preparing, step=CloseAdmission())
    return None


def _lead(situation: Situation, order: Order) -> Decision:
    state, memory = replace(situation.state, writable_epoch=order.epoch), situation.memory
    # It may run under a lease of its own older epoch: the guard goes by the last lease there is.
    running = Decision(activity="running", state=state, memory=memory, guarded=True, again_s=STEADY_S)
    proof = Proof(order.epoch, order.synchronous)
    if memory.waited not in (None, proof):
        # Names that change and change back are shown again: the checkpointer may not have loaded the last change.
        memory = replace(memory, waited=None)
        running = replace(running, memory=memory)
        situation = replace(situation, memory=memory)
    shown = order.synchronous is None or memory.waited == proof
    if memory.admitted_epoch != order.epoch:
        closing = _close(situation, order, replace(running, activity="closing admission"))
        if closing is not None:
            return closing
        if memory.recorded_epoch == order.epoch and shown:
            memory = replace(memory, admitted_epoch=order.epoch)
    admitted = memory.admitted_epoch == order.epoch
    running = replace(running, check_writes=admitted)
    duty = Duty(synchronous=order.synchronous, admits=admitted)
    proved = shown and memory.proved_epoch == order.epoch
    if situation.duty != duty:
        # A proof under the same names goes on while the application is admitted.
        goes_on = not proved and situation.duty is not None and replace(situation.duty, admits=admitted) == duty
        return replace(running, step=Configure(duty), memory=memory, prove=proof if goes_on else None)
    if situation.lease_s <= 0:
        return replace(_wait_for_lease(situation, SOON_S), state=state, guarded=True)
    slots = None
    if situation.missing_slots or situation.stale_slots:
        slots = ProvideSlots(situation.missing_slots, situation.stale_slots)
    # Before it admits, nothing is written again and again, and what it lacks is the proof.
    last_s = memory.written_at_s if admitted else None
    stalled_s = 0.0 if last_s is None else situation.now_s - last_s
    memory = replace(memory, stalled=stalled_s > WRITE_STALL_S)
    problem = None
    if memory.stalled:
        problem = f"no write was committed for {stalled_s:.0f} s: the disk is full or stalled"
    elif not shown:
        problem = "synchronous replication is not confirmed yet"
    elif not admitted:
        problem = f"the record of epoch {order.epoch} is not written yet"
    return replace(
        running,
        settled=proved,
        problem=problem,
        prove=None if proved else proof,
        step=slots,
        memory=memory,
    )


def _wait_for_lease(situation: Situation, again_s: float) -> Decision:
    memory = situation.memory
    activity = "stopped by the guard" if memory.stopped_by_guard else "waiting for a lease"
    return Decision(activity=activity, state=situation.state, memory=memory, again_s=again_s)
