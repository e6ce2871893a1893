"""Wait for a condition: say what is missing meanwhile, and give up at once when waiting cannot help."""

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
# Reasons of Stalled that only an operator ends, and how.
HELPLESS = {
    "PausedWithoutPrimary": "leeward resume {app}, or bring the region back",
    "ObservedWithoutPrimary": "leeward failover {app} --to REGION --confirm {app}, or bring the region back",
}
HELD_UP = (Type.READY, Type.PRIMARY_WRITABLE, Type.REPLICATING, Type.OBJECTIVES_FEASIBLE)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is waited for."""

    type: Type
    status: Status


def wait(console: Console, world: str | None, app: str, wanted: str, timeout_s: float) -> ExitCode:
    """Wait, and print what was met."""
    return run(_wait(console, world, app, wish_of(wanted), timeout_s), console)


def wish_of(text: str) -> Wish:
    """Return what ``TYPE[=STATUS]`` means. Raises CommandError."""
    name, _, status = text.partition("=")
    types, statuses = {each.lower(): each for each in Type}, {each.lower(): each for each in Status}
    if name.lower() not in types or (status or "true").lower() not in statuses:
        raise CommandError(_unknown(text, name))
    return Wish(types[name.lower()], statuses[(status or "true").lower()])


def met(view: Situation, app: str, wish: Wish) -> tuple[bool, str]:
    """Return whether it is met, and how it stands. Raises CommandError when it cannot be met by waiting."""
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
        and stalled["reason"] in HELPLESS
        and wish.status is Status.TRUE
        and wish.type in HELD_UP
        and found[wish.type]["status"] != wish.status
    ):
        raise CommandError(_helpless(app, wish, stalled), code=ExitCode.NO)
    if wish.type not in found:
        return False, "its agent tells no conditions yet"
    now = found[wish.type]
    return now["status"] == wish.status, f"{now['type']} is {now['status']} ({now['reason']}): {now['message']}"


async def _wait(console: Console, name: str | None, app: str, wish: Wish, timeout_s: float) -> ExitCode:
    said, is_met = "nothing is known yet", False
    async with choose(name) as world, agents_of(world, await world.info()) as agents:
        try:
            async with asyncio.timeout(timeout_s):
                while not is_met:
                    view = situation(await agents.statuses())
                    is_met, told = met(view, app, wish)
                    if view.revision is None:
                        await world.info()  # of a world that has gone nothing is to be expected
                    if told != said and not is_met:
                        console.progress(told)
                    said = told
                    await asyncio.sleep(0 if is_met else POLL_S)
        except TimeoutError:
            raise CommandError(_late(app, wish, said, timeout_s), code=ExitCode.TIMED_OUT) from None
    console.data(f"application/{app} condition met: {said}")
    return ExitCode.DONE


def _unknown(text: str, name: str) -> Problem:
    return Problem(
        code="unknown-condition",
        where="command line",
        what=f"--for {text} is no condition",
        why=f"conditions are {', '.join(Type)}, each True, False or Unknown",
        fix=suggestion(name, list(Type)),
    )


def _helpless(app: str, wish: Wish, stalled: Mapping[str, Any]) -> Problem:
    return Problem(
        code="needs-help",
        where=f"application {app}",
        what=f"{wish.type} will not become {wish.status} by waiting",
        why=str(stalled["message"]),
        fix=HELPLESS[stalled["reason"]].format(app=app),
    )


def _late(app: str, wish: Wish, said: str, timeout_s: float) -> Problem:
    return Problem(
        code="timed-out",
        where=f"application {app}",
        what=f"{wish.type} was not {wish.status} within {timeout_s:g} s",
        why=said,
        fix="leeward status --show-conditions shows all; or wait longer with --timeout",
    )
