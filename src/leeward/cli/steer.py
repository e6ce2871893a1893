"""Ask the agents for a change, and wait until it is done. The agents decide; they refuse what is unsafe."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leeward.base.problem import Problem
from leeward.cli.agents import Agents
from leeward.cli.console import Console
from leeward.cli.exits import CommandError, ExitCode
from leeward.cli.history import no_such_application, nobody_answers
from leeward.cli.running import run
from leeward.cli.situation import ApplicationRow, situation
from leeward.cli.worlds_here import agents_of, choose, region_of

REQUEST_TIMEOUT_S = 12.0
POLL_S = 0.1
DONE = {
    "switchover": "switched-over",
    "failover": "failed-over",
    "mode": "mode-changed",
    "pause": "paused",
    "resume": "resumed",
}
AGENTS_DRY_RUN = ("switchover", "failover")
"""What the agents themselves can try without doing it."""


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator wants."""

    verb: str
    app: str
    body: Mapping[str, Any]
    wait_for_primary: str | None = None
    wait_for_mode: str | None = None
    dangerous: bool = False
    """Must be confirmed by the application's name."""


def ask(
    console: Console,
    world: str | None,
    order: Order,
    *,
    timeout_s: float,
    dry_run: bool,
    confirm: str | None = None,
) -> ExitCode:
    """Ask, wait if the order says so, and print what was done."""
    if order.dangerous and not dry_run and confirm != order.app:
        raise CommandError(_unconfirmed(order, confirm), code=ExitCode.REFUSED)
    return run(_ask(console, world, order, timeout_s, dry_run=dry_run), console)


async def _ask(console: Console, name: str | None, order: Order, timeout_s: float, *, dry_run: bool) -> ExitCode:
    async with choose(name) as world:
        info = await world.info()
        if "to" in order.body:
            region_of(info, order.body["to"])
        async with agents_of(world, info) as agents:
            before = await _row(agents, order.app)
            path = f"/v1/apps/{order.app}/{order.verb}"
            if dry_run and order.verb not in AGENTS_DRY_RUN:
                console.data(
                    f"application/{order.app} {DONE[order.verb]} (dry run): POST {path} {json.dumps(order.body)}"
                )
                return ExitCode.DONE
            body = {**order.body, "dry_run": True} if dry_run else order.body
            answer = await agents.change(path, body, timeout_s=REQUEST_TIMEOUT_S)
            if answer.silent:
                raise CommandError(nobody_answers())
            if answer.status != 200:
                raise CommandError(_refused(order, answer.body), code=_code(answer.status))
            if dry_run:
                console.data(f"application/{order.app} {DONE[order.verb]} (dry run): {answer.body['because']}")
                return ExitCode.DONE
            if order.wait_for_primary or order.wait_for_mode:
                await _wait(console, agents, order, before, timeout_s)
    console.data(f"application/{order.app} {DONE[order.verb]}")
    return ExitCode.DONE


async def switch_over(console: Console, agents: Agents, app: str, to: str, timeout_s: float) -> None:
    """Move a primary and return when it accepts writes there. Raises CommandError when it is refused or fails."""
    order = Order("switchover", app, {"to": to}, wait_for_primary=to)
    before = await _row(agents, app)
    answer = await agents.change(f"/v1/apps/{app}/switchover", order.body, timeout_s=REQUEST_TIMEOUT_S)
    if answer.silent:
        raise CommandError(nobody_answers())
    if answer.status != 200:
        raise CommandError(_refused(order, answer.body), code=_code(answer.status))
    await _wait(console, agents, order, before, timeout_s)


async def _row(agents: Agents, app: str) -> ApplicationRow:
    row = await _look(agents, app)
    if row is None:
        raise CommandError(nobody_answers())
    return row


async def _look(agents: Agents, app: str) -> ApplicationRow | None:
    """Return how the application stands; None when no agent answers."""
    view = situation(await agents.statuses())
    if view.revision is None:
        return None
    for row in view.applications:
        if row.name == app:
            return row
    raise CommandError(no_such_application(app, [row.name for row in view.applications]))


async def _wait(console: Console, agents: Agents, order: Order, before: ApplicationRow, timeout_s: float) -> None:
    """Follow the change. Raises CommandError as soon as it cannot succeed any more, or when time is up."""
    moved, said = False, before.because
    row = before
    try:
        async with asyncio.timeout(timeout_s):
            while not _reached(order, row):
                if row.because != said:
                    said = row.because
                    console.progress(f"{row.phase}: {said}")
                moved = moved or row.phase != "steady"
                if moved and row.phase == "steady" and order.wait_for_primary not in (None, row.primary):
                    raise CommandError(_aborted(order, row), code=ExitCode.NO)
                await asyncio.sleep(POLL_S)
                # What was asked for goes on, though all agents may be too late for one look.
                row = await _look(agents, order.app) or row
    except TimeoutError:
        raise CommandError(_late(order, row, timeout_s), code=ExitCode.TIMED_OUT) from None
    if row.because != said:
        console.progress(f"{row.phase}: {row.because}")


def _reached(order: Order, row: ApplicationRow) -> bool:
    if order.wait_for_mode is not None:
        return row.mode == order.wait_for_mode and row.phase == "steady"
    return row.primary == order.wait_for_primary and row.phase == "steady" and row.writable


def _code(status: int) -> ExitCode:
    match status:
        case 409:
            return ExitCode.REFUSED
        case 504:
            return ExitCode.TIMED_OUT
        case _:
            return ExitCode.COULD_NOT_RUN


def _unconfirmed(order: Order, confirm: str | None) -> Problem:
    return Problem(
        code="not-confirmed",
        where="command line",
        what=f"{order.verb} of {order.app} is dangerous and was not confirmed",
        why="no --confirm was given" if confirm is None else f"--confirm says {confirm!r}",
        fix=f"look first with --dry-run, then add --confirm {order.app}",
    )


def _refused(order: Order, body: Mapping[str, Any]) -> Problem:
    code = str(body.get("code", "refused"))
    wait = "see leeward status for what is in the way, and ask again when it is gone"
    return Problem(
        code=code,
        where=f"application {order.app}",
        what=f"the {order.verb} was refused",
        why=str(body.get("because", "no reason was given")),
        fix="act as an operator who has that right: LEEWARD_IDENTITY" if code == "not-allowed" else wait,
    )


def _aborted(order: Order, row: ApplicationRow) -> Problem:
    return Problem(
        code="aborted",
        where=f"application {order.app}",
        what=f"the {order.verb} ended with {row.primary} as the primary, not {order.wait_for_primary}",
        why=row.because,
        fix=f"leeward records {order.app} tells the whole story; ask again when its reason is gone",
    )


def _late(order: Order, row: ApplicationRow, timeout_s: float) -> Problem:
    state = "writable" if row.writable else "not writable"
    return Problem(
        code="timed-out",
        where=f"application {order.app}",
        what=f"the {order.verb} was not done within {timeout_s:g} s; it goes on",
        why=f"{row.phase}, primary {row.primary or 'nobody'} ({state}), {row.mode}: {row.because}",
        fix="watch it with leeward status --watch, or wait longer with --timeout",
    )
