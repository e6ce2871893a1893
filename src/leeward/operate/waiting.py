"""Wait for a condition: report what is missing meanwhile, and fail at once when waiting cannot help."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leeward.base.problem import Problem
from leeward.base.suggestions import suggestion
from leeward.core.conditions.values import Status, Type
from leeward.operate.fleet import Fleet
from leeward.operate.outcome import OperationError, Outcome, Progress
from leeward.operate.problems import no_such_application
from leeward.operate.situation import Situation, situation

POLL_S = 0.2
# Reasons of Stalled that only an operator can resolve, and how.
NEEDS_OPERATOR = {
    "PausedWithoutPrimary": "leeward resume {app}, or restart the region",
    "ObservedWithoutPrimary": "leeward failover {app} --to REGION --confirm {app}, or restart the region",
}
BLOCKED_WHILE_STALLED = (Type.READY, Type.PRIMARY_WRITABLE, Type.REPLICATING, Type.OBJECTIVES_FEASIBLE)


@dataclass(frozen=True, slots=True)
class Goal:
    """The condition to wait for."""

    type: Type
    status: Status


def goal_of(text: str) -> Goal:
    """Parse ``TYPE[=STATUS]``. Raises OperationError."""
    name, _, status = text.partition("=")
    types, statuses = {each.lower(): each for each in Type}, {each.lower(): each for each in Status}
    if name.lower() not in types or (status or "true").lower() not in statuses:
        raise OperationError(_unknown(text, name))
    return Goal(types[name.lower()], statuses[(status or "true").lower()])


def met(view: Situation, app: str, goal: Goal) -> tuple[bool, str]:
    """Return whether it is met, and its state. Raises OperationError when it cannot be met by waiting."""
    if view.revision is None:
        return False, "no agent answers"
    row = next((row for row in view.applications if row.name == app), None)
    if row is None:
        if view.applications:
            raise OperationError(no_such_application(app, [row.name for row in view.applications]))
        return False, f"{app} has not been founded yet"
    found = {each["type"]: each for each in row.conditions}
    stalled = found.get(Type.STALLED)
    if (
        stalled is not None
        and stalled["reason"] in NEEDS_OPERATOR
        and goal.status is Status.TRUE
        and goal.type in BLOCKED_WHILE_STALLED
        and found[goal.type]["status"] != goal.status
    ):
        raise OperationError(_needs_operator(app, goal, stalled), outcome=Outcome.NO)
    if goal.type not in found:
        return False, "its agent reports no conditions yet"
    now = found[goal.type]
    return now["status"] == goal.status, f"{now['type']} is {now['status']} ({now['reason']}): {now['message']}"


async def wait(fleet: Fleet, app: str, goal: Goal, progress: Progress, timeout_s: float) -> str:
    """Wait for a condition, and return its state when it is met.

    Raises OperationError: not met in time, or it cannot be met by waiting.
    """
    state, is_met = "no status yet", False
    async with fleet.agents() as agents:
        try:
            async with asyncio.timeout(timeout_s):
                while not is_met:
                    view = situation(await agents.statuses())
                    is_met, now = met(view, app, goal)
                    if view.revision is None:
                        fleet = await fleet.refreshed()  # raises if it is gone
                    if now != state and not is_met:
                        progress.progress(now)
                    state = now
                    await asyncio.sleep(0 if is_met else POLL_S)
        except TimeoutError:
            raise OperationError(_late(app, goal, state, timeout_s), outcome=Outcome.TIMED_OUT) from None
    return state


def _unknown(text: str, name: str) -> Problem:
    return Problem(
        code="unknown-condition",
        where="command line",
        what=f"--for {text} is not a valid condition",
        why=f"expected one of {', '.join(Type)}, with True, False or Unknown",
        fix=suggestion(name, list(Type)),
    )


def _needs_operator(app: str, goal: Goal, stalled: Mapping[str, Any]) -> Problem:
    return Problem(
        code="needs-help",
        where=f"application {app}",
        what=f"{goal.type} will not become {goal.status} by waiting",
        why=str(stalled["message"]),
        fix=NEEDS_OPERATOR[stalled["reason"]].format(app=app),
    )


def _late(app: str, goal: Goal, state: str, timeout_s: float) -> Problem:
    return Problem(
        code="timed-out",
        where=f"application {app}",
        what=f"{goal.type} was not {goal.status} within {timeout_s:g} s",
        why=state,
        fix="leeward status --show-conditions shows all; or wait longer with --timeout",
    )
