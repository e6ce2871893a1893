"""Wait for a condition: report what is missing meanwhile, and fail at once when waiting cannot help."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leeward.base.problem import Problem
from leeward.cli.console import Console
from leeward.cli.exits import CommandError, ExitCode
from leeward.cli.history import no_such_application
from leeward.cli.running import run
from leeward.cli.situation import Situation, situation
from leeward.cli.worlds_here import agents_of, choose
from leeward.core.conditions.values import Status, Type
from leeward.spec.validate import suggestion

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


def wait(console: Console, world: str | None, app: str, wanted: str, timeout_s: float) -> ExitCode:
    """Wait, and print the condition that was met."""
    return run(_wait(console, world, app, goal_of(wanted), timeout_s), console)


def goal_of(text: str) -> Goal:
    """Parse ``TYPE[=STATUS]``. Raises CommandError."""
    name, _, status = text.partition("=")
    types, statuses = {each.lower(): each for each in Type}, {each.lower(): each for each in Status}
    if name.lower() not in types or (status or "true").lower() not in statuses:
        raise CommandError(_unknown(text, name))
    return Goal(types[name.lower()], statuses[(status or "true").lower()])


def met(view: Situation, app: str, goal: Goal) -> tuple[bool, str]:
    """Return whether it is met, and its state. Raises CommandError when it cannot be met by waiting."""
    if view.revision is None:
        return False, "no agent answers"
    row = next((row for row in view.applications if row.name == app), None)
    if row is None:
        if view.applications:
            raise CommandError(no_such_application(app, [row.name for row in view.applications]))
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
        raise CommandError(_needs_operator(app, goal, stalled), code=ExitCode.NO)
    if goal.type not in found:
        return False, "its agent reports no conditions yet"
    now = found[goal.type]
    return now["status"] == goal.status, f"{now['type']} is {now['status']} ({now['reason']}): {now['message']}"


async def _wait(console: Console, name: str | None, app: str, goal: Goal, timeout_s: float) -> ExitCode:
    state, is_met = "no status yet", False
    async with choose(name) as world, agents_of(world, await world.info()) as agents:
        try:
            async with asyncio.timeout(timeout_s):
                while not is_met:
                    view = situation(await agents.statuses())
                    is_met, now = met(view, app, goal)
                    if view.revision is None:
                        await world.info()  # raises if the world is gone
                    if now != state and not is_met:
                        console.progress(now)
                    state = now
                    await asyncio.sleep(0 if is_met else POLL_S)
        except TimeoutError:
            raise CommandError(_late(app, goal, state, timeout_s), code=ExitCode.TIMED_OUT) from None
    console.data(f"application/{app} condition met: {state}")
    return ExitCode.DONE


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
