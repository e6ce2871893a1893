"""Breaks of the instance manager's decisions, each found by random draws."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from leeward.core.values import Order
from leeward.instance.machine import follow, lead, leave, outcomes, recovery
from leeward.instance.machine.lineage import Compatible
from leeward.instance.machine.steps import Decision
from leeward.instance.machine.values import Leaving, Memory, Proof, Situation
from leeward.sim.faults import Kind
from tests.sim.mutation import ASYNC, LOSSES, PROMPT, SAFE_MODES, Mutation

Lead = Callable[[Situation, Order], Decision]


def leads_with(patch: pytest.MonkeyPatch, change: Callable[[Memory, Order], Memory]) -> None:
    """Let a running primary decide as if it remembered something else."""
    honest = lead._lead

    def changed(situation: Situation, order: Order) -> Decision:
        return honest(replace(situation, memory=change(situation.memory, order)), order)

    patch.setattr(lead, "_lead", changed)


def promote_unguarded(patch: pytest.MonkeyPatch) -> None:
    """PostgreSQL leaves recovery without a timer that ends it with its lease."""

    def unguarded(honest: Lead) -> Lead:
        return lambda situation, order: replace(honest(situation, order), guarded=False)

    for name in ("_promote", "_start", "_lead"):
        patch.setattr(lead, name, unguarded(getattr(lead, name)))


def admit_before_commits_wait(patch: pytest.MonkeyPatch) -> None:
    """That commits wait for the standbys is believed, and was not seen."""
    leads_with(patch, lambda memory, order: replace(memory, waited=Proof(order.epoch, order.synchronous)))


def any_proof_counts(patch: pytest.MonkeyPatch) -> None:
    """What was shown for other names counts for these."""

    def kept(memory: Memory, order: Order) -> Memory:
        shown = memory.waited is not None and memory.waited.epoch == order.epoch and order.synchronous is not None
        return replace(memory, waited=Proof(order.epoch, order.synchronous)) if shown else memory

    honest = lead._lead

    def changed(situation: Situation, order: Order) -> Decision:
        before = situation.memory.waited
        decision = honest(replace(situation, memory=kept(situation.memory, order)), order)
        if order.synchronous is None and before is not None:
            return replace(decision, memory=replace(decision.memory, waited=before))
        return decision

    patch.setattr(lead, "_lead", changed)


def save_no_orphans(patch: pytest.MonkeyPatch) -> None:
    """A history is given up without what only it holds being saved."""
    honest = leave.decide

    def decide(situation: Situation, order: Order, leaving: Leaving) -> Decision:
        return honest(situation, order, replace(leaving, orphans_saved=True))

    patch.setattr(leave, "decide", decide)


def forget_who_led(patch: pytest.MonkeyPatch) -> None:
    """A server in recovery no longer knows that it accepted writes."""
    honest = recovery.entered

    def entered(situation: Situation) -> Situation:
        found = honest(situation)
        return replace(found, state=replace(found.state, writable_epoch=None))

    patch.setattr(recovery, "entered", entered)


def lost_state_means_never_led(patch: pytest.MonkeyPatch) -> None:
    """Data without a state file is taken for that of a standby."""
    honest = recovery.entered

    def entered(situation: Situation) -> Situation:
        return honest(replace(situation, state=replace(situation.state, initialised=True)))

    patch.setattr(recovery, "entered", entered)


def every_history_is_compatible(patch: pytest.MonkeyPatch) -> None:
    """Histories that forked are taken for one."""
    patch.setattr(outcomes, "compare", lambda own, theirs, **_: Compatible())


def create_what_was_lost(patch: pytest.MonkeyPatch) -> None:
    """A primary without data creates a new database, though there was one."""
    honest = lead._initialise

    def initialise(situation: Situation, order: Order) -> Decision:
        forgetful = replace(
            situation,
            state=replace(situation.state, initialised=False),
            memory=replace(situation.memory, neighbours=()),
        )
        return honest(forgetful, replace(order, founding=True))

    patch.setattr(lead, "_initialise", initialise)


def never_stalled(patch: pytest.MonkeyPatch) -> None:
    """A disk that takes no write is not noticed."""
    patch.setattr(lead, "WRITE_STALL_S", 1e9)


def removed_wal_is_waited_for(patch: pytest.MonkeyPatch) -> None:
    """A standby whose WAL is gone waits for it."""
    honest = follow.decide
    patch.setattr(follow, "decide", lambda situation, order: honest(replace(situation, wal_removed=False), order))


INSTANCE_MUTATIONS = (
    Mutation("PostgreSQL is promoted unguarded", promote_unguarded, replace(PROMPT, kinds=LOSSES)),
    Mutation(
        "admitted before commits wait",
        admit_before_commits_wait,
        replace(PROMPT, kinds=frozenset((Kind.MODE, Kind.BUSY_CHECKPOINTER))),
    ),
    Mutation(
        "any proof counts",
        any_proof_counts,
        replace(PROMPT, modes=SAFE_MODES, kinds=frozenset((Kind.MODE, Kind.BUSY_CHECKPOINTER))),
    ),
    Mutation("orphans are not saved", save_no_orphans, replace(PROMPT, modes=ASYNC, kinds=LOSSES)),
    Mutation("who led is forgotten", forget_who_led, replace(PROMPT, modes=ASYNC, kinds=LOSSES)),
    Mutation(
        "a lost state means never led",
        lost_state_means_never_led,
        replace(PROMPT, modes=ASYNC, kinds=LOSSES | {Kind.STATE_LOSS}),
    ),
    Mutation("every history is compatible", every_history_is_compatible, replace(PROMPT, modes=ASYNC, kinds=LOSSES)),
    Mutation(
        "a lost database is created again",
        create_what_was_lost,
        replace(PROMPT, kinds=frozenset((Kind.VOLUME_LOSS, Kind.STATE_LOSS))),
    ),
    Mutation("a stalled disk is not noticed", never_stalled, replace(PROMPT, kinds=frozenset((Kind.HUNG_DISK,)))),
    Mutation(
        "removed WAL is waited for",
        removed_wal_is_waited_for,
        replace(PROMPT, kinds=frozenset((Kind.WAL_REMOVED, Kind.ISOLATION))),
    ),
)
