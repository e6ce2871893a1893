"""Decide the next step of an instance, towards the order in force.

Always true: a PostgreSQL that may accept writes is guarded before the step that lets it; one that was deposed is
killed before anything else is done with it; the data directory is given up only for the history of a primary.
Not here: how a step is performed, and the end of PostgreSQL with its lease (the guard).
"""

from dataclasses import replace
from typing import assert_never

from leeward.core.values import Role
from leeward.instance.machine import follow, lead, stand_down
from leeward.instance.machine.pace import STEADY_S, STOP_CALLED_OFF_S
from leeward.instance.machine.steps import Decision, Stop
from leeward.instance.machine.values import Situation


def decide(situation: Situation) -> Decision:
    """Return what to publish and what to do next."""
    decision = _decide(situation)
    state = decision.state
    known = tuple(sorted({*state.upstreams, *situation.upstreams}))
    if state.order is not None and state.upstreams != known:
        decision = replace(decision, state=replace(state, upstreams=known))
    if decision.settled == decision.memory.settled:
        return decision
    return replace(decision, memory=replace(decision.memory, settled=decision.settled))


def _decide(situation: Situation) -> Decision:
    if situation.state.incomplete and situation.rewind_unchanged:
        # It may be the only copy left: the upstream that it was to be rewound to may have lost its own.
        situation = replace(situation, state=replace(situation.state, incomplete=False))
    state, memory = situation.state, situation.memory
    order = state.order
    if order is None:
        return Decision(activity="waiting for an order", state=state, memory=memory, again_s=STEADY_S)
    if situation.stopping and order.role is not Role.STOPPED:
        return Decision(
            activity="stopping before a restart",
            step=Stop(STOP_CALLED_OFF_S),
            state=state,
            memory=memory,
            again_s=0.0,
        )
    match order.role:
        case Role.PRIMARY:
            return lead.decide(situation, order)
        case Role.STANDBY:
            return follow.decide(situation, order)
        case Role.DETACHED:
            return stand_down.detach(situation, order)
        case Role.STOPPED:
            return stand_down.stop(situation)
        case _:
            assert_never(order.role)
