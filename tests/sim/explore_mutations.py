"""The instance machine, broken on purpose, one promise at a time."""

from dataclasses import replace

import pytest

from leeward.core import failover
from leeward.core.values import Basis, InstanceStatus, Order, Role
from leeward.instance.machine import acceptance, decide, lead, leave, lineage, outcomes
from leeward.instance.machine.steps import Decision
from leeward.instance.machine.values import Leaving, Memory, Proof, Situation, State


def admit_before_the_record(patch: pytest.MonkeyPatch) -> None:
    """The application writes before the epoch is recorded."""
    honest = lead._lead

    def hasty(situation: Situation, order: Order) -> Decision:
        memory = replace(situation.memory, recorded_epoch=order.epoch)
        return honest(replace(situation, memory=memory), order)

    patch.setattr(lead, "_lead", hasty)


def leave_admission_open(patch: pytest.MonkeyPatch) -> None:
    """Sessions of the application outlive the promotion."""

    def nothing(situation: Situation, order: Order, preparing: Decision) -> None:
        return None

    patch.setattr(lead, "_close", nothing)


def take_the_setting_for_a_proof(patch: pytest.MonkeyPatch) -> None:
    """That commits wait is believed as soon as it is configured."""
    honest = lead._lead

    def hasty(situation: Situation, order: Order) -> Decision:
        memory = replace(situation.memory, waited=Proof(order.epoch, order.synchronous))
        return honest(replace(situation, memory=memory), order)

    patch.setattr(lead, "_lead", hasty)


def keep_the_proof_of_yesterday(patch: pytest.MonkeyPatch) -> None:
    """A bug that was there: what was shown for some names counts again when they come back."""
    honest = lead._lead

    def remembering(situation: Situation, order: Order) -> Decision:
        decision, waited = honest(situation, order), situation.memory.waited
        if decision.memory.waited is None and waited is not None:
            return replace(decision, memory=replace(decision.memory, waited=waited))
        return decision

    patch.setattr(lead, "_lead", remembering)


def leave_it_unguarded(patch: pytest.MonkeyPatch) -> None:
    """PostgreSQL does not end with its lease."""
    honest = decide.decide
    patch.setattr(decide, "decide", lambda situation: replace(honest(situation), guarded=False))


def save_no_orphans(patch: pytest.MonkeyPatch) -> None:
    """What only this instance has is given up without a copy."""
    honest = leave.decide

    def careless(situation: Situation, order: Order, leaving: Leaving) -> Decision:
        return honest(situation, order, replace(leaving, orphans_saved=True))

    patch.setattr(leave, "decide", careless)


def forget_a_rewind(patch: pytest.MonkeyPatch) -> None:
    """A rewind that was cut short is not on record."""
    honest = leave.decide

    def careless(situation: Situation, order: Order, leaving: Leaving) -> Decision:
        decision = honest(situation, order, leaving)
        return replace(decision, state=replace(decision.state, incomplete=False))

    patch.setattr(leave, "decide", careless)


def accept_any_order(patch: pytest.MonkeyPatch) -> None:
    """A bug that was there: of one epoch's orders the one that arrives last counts."""
    honest = acceptance.accept

    def accept(state: State, memory: Memory, order: Order, basis: Basis, incarnation: str) -> tuple[State, Memory]:
        now = Basis(max(basis.revision, state.revision), incarnation, state.accepted)
        return honest(replace(state, stood_down=None), memory, order, now, incarnation)

    patch.setattr(acceptance, "accept", accept)


def promise_before_the_cut(patch: pytest.MonkeyPatch) -> None:
    """A standby's position is promised once the order to cut is accepted, while it may still stream."""

    def ordered(instance: InstanceStatus) -> bool:
        return instance.order is not None and instance.order.role is Role.DETACHED

    patch.setattr(failover, "_detached", ordered)


def believe_a_server_in_recovery(patch: pytest.MonkeyPatch) -> None:
    """A history is given up for that of a standby."""
    patch.setattr(outcomes, "compare", lambda own, theirs, epoch, **_: lineage._compare(own, theirs, epoch=epoch))


def start_without_a_lease(patch: pytest.MonkeyPatch) -> None:
    """A former primary comes up as one before it is allowed to write."""
    patch.setattr(lead, "LEASE_MIN_S", float("-inf"))
