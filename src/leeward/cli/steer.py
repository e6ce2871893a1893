"""Request a change from the agents, and wait until it is done. The agents decide; they refuse what is unsafe."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leeward.base.problem import Problem
from leeward.cli.agents import Agents
from leeward.cli.console import Console
from leeward.cli.exits import CommandError, ExitCode
from leeward.cli.history import no_agent_answers, no_such_application
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
"""Changes that agents can evaluate without making them."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change that an operator requests."""

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
    change: Change,
    *,
    timeout_s: float,
    dry_run: bool,
    confirm: str | None = None,
) -> ExitCode:
    """Request a change, wait if it says so, and print what was done."""
    if change.dangerous and not dry_run and confirm != change.app:
        raise CommandError(_unconfirmed(change, confirm), code=ExitCode.REFUSED)
    return run(_ask(console, world, change, timeout_s, dry_run=dry_run), console)


async def _ask(console: Console, name: str | None, change: Change, timeout_s: float, *, dry_run: bool) -> ExitCode:
    async with choose(name) as world:
        info = await world.info()
        if "to" in change.body:
            region_of(info, change.body["to"])
        async with agents_of(world, info) as agents:
            before = await _row(agents, change.app)
            path = f"/v1/apps/{change.app}/{change.verb}"
            if dry_run and change.verb not in AGENTS_DRY_RUN:
                console.data(
                    f"application/{change.app} {DONE[change.verb]} (dry run): POST {path} {json.dumps(change.body)}"
                )
                return ExitCode.DONE
            body = {**change.body, "dry_run": True} if dry_run else change.body
            answer = await agents.change(path, body, timeout_s=REQUEST_TIMEOUT_S)
            if answer.silent:
                raise CommandError(no_agent_answers())
            if answer.status != 200:
                raise CommandError(_refused(change, answer.body), code=_code(answer.status))
            if dry_run:
                console.data(f"application/{change.app} {DONE[change.verb]} (dry run): {answer.body['because']}")
                return ExitCode.DONE
            if change.wait_for_primary or change.wait_for_mode:
                await _wait(console, agents, change, before, timeout_s)
    console.data(f"application/{change.app} {DONE[change.verb]}")
    return ExitCode.DONE


async def switch_over(console: Console, agents: Agents, app: str, to: str, timeout_s: float) -> None:
    """Move a primary and return when it accepts writes there. Raises CommandError when it is refused or fails."""
    change = Change("switchover", app, {"to": to}, wait_for_primary=to)
    before = await _row(agents, app)
    answer = await agents.change(f"/v1/apps/{app}/switchover", change.body, timeout_s=REQUEST_TIMEOUT_S)
    if answer.silent:
        raise CommandError(no_agent_answers())
    if answer.status != 200:
        raise CommandError(_refused(change, answer.body), code=_code(answer.status))
    await _wait(console, agents, change, before, timeout_s)


async def _row(agents: Agents, app: str) -> ApplicationRow:
    row = await _look(agents, app)
    if row is None:
        raise CommandError(no_agent_answers())
    return row


async def _look(agents: Agents, app: str) -> ApplicationRow | None:
    """Return the application's state; None when no agent answers."""
    view = situation(await agents.statuses())
    if view.revision is None:
        return None
    for row in view.applications:
        if row.name == app:
            return row
    raise CommandError(no_such_application(app, [row.name for row in view.applications]))


async def _wait(console: Console, agents: Agents, change: Change, before: ApplicationRow, timeout_s: float) -> None:
    """Wait for the change. Raises CommandError as soon as it can no longer succeed, or on timeout."""
    moved, reported = False, before.because
    row = before
    try:
        async with asyncio.timeout(timeout_s):
            while not _reached(change, row):
                if row.because != reported:
                    reported = row.because
                    console.progress(f"{row.phase}: {reported}")
                moved = moved or row.phase != "steady"
                if moved and row.phase == "steady" and change.wait_for_primary not in (None, row.primary):
                    raise CommandError(_aborted(change, row), code=ExitCode.NO)
                await asyncio.sleep(POLL_S)
                # The change continues even if no agent answers in time once.
                row = await _look(agents, change.app) or row
    except TimeoutError:
        raise CommandError(_late(change, row, timeout_s), code=ExitCode.TIMED_OUT) from None
    if row.because != reported:
        console.progress(f"{row.phase}: {row.because}")


def _reached(change: Change, row: ApplicationRow) -> bool:
    if change.wait_for_mode is not None:
        return row.mode == change.wait_for_mode and row.phase == "steady"
    return row.primary == change.wait_for_primary and row.phase == "steady" and row.writable


def _code(status: int) -> ExitCode:
    match status:
        case 409:
            return ExitCode.REFUSED
        case 504:
            return ExitCode.TIMED_OUT
        case _:
            return ExitCode.COULD_NOT_RUN


def _unconfirmed(change: Change, confirm: str | None) -> Problem:
    return Problem(
        code="not-confirmed",
        where="command line",
        what=f"{change.verb} of {change.app} is dangerous and was not confirmed",
        why="no --confirm was given" if confirm is None else f"--confirm is {confirm!r}",
        fix=f"check with --dry-run first, then add --confirm {change.app}",
    )


def _refused(change: Change, body: Mapping[str, Any]) -> Problem:
    code = str(body.get("code", "refused"))
    wait = "see leeward status for the cause, and retry once it is resolved"
    return Problem(
        code=code,
        where=f"application {change.app}",
        what=f"the {change.verb} was refused",
        why=str(body.get("because", "no reason was given")),
        fix="set LEEWARD_IDENTITY to an operator with that right" if code == "not-allowed" else wait,
    )


def _aborted(change: Change, row: ApplicationRow) -> Problem:
    return Problem(
        code="aborted",
        where=f"application {change.app}",
        what=f"the {change.verb} ended with {row.primary} as the primary, not {change.wait_for_primary}",
        why=row.because,
        fix=f"see leeward records {change.app} for the details; retry once the cause is resolved",
    )


def _late(change: Change, row: ApplicationRow, timeout_s: float) -> Problem:
    state = "writable" if row.writable else "not writable"
    return Problem(
        code="timed-out",
        where=f"application {change.app}",
        what=f"the {change.verb} was not done within {timeout_s:g} s; it continues",
        why=f"{row.phase}, primary {row.primary or 'none'} ({state}), {row.mode}: {row.because}",
        fix="watch it with leeward status --watch, or wait longer with --timeout",
    )
