"""Request a change from the agents, and wait until it is done. The agents decide; they refuse what is unsafe."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leeward.base.problem import Problem
from leeward.core.values import ReplicationMode
from leeward.operate.agents import Agents
from leeward.operate.fleet import Fleet
from leeward.operate.outcome import OperationError, Outcome, Progress
from leeward.operate.problems import no_agent_answers, no_such_application, region_in
from leeward.operate.situation import ApplicationRow, situation

REQUEST_TIMEOUT_S = 12.0
POLL_S = 0.1
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

    @property
    def path(self) -> str:
        """Where agents take it in."""
        return f"/v1/apps/{self.app}/{self.verb}"


@dataclass(frozen=True, slots=True)
class Steered:
    """A change that was made, or could be."""

    change: Change
    dry_run: bool
    because: str | None = None
    """Why the agents would make it; None: it was made, or they cannot evaluate it without making it."""


def switchover(app: str, to: str, *, wait: bool = True) -> Change:
    """Return the change that moves the primary without losing a write."""
    return Change("switchover", app, {"to": to}, wait_for_primary=to if wait else None)


def failover(app: str, to: str, *, wait: bool = True) -> Change:
    """Return the change that deposes the primary; asynchronous writes may be lost."""
    return Change("failover", app, {"to": to}, wait_for_primary=to if wait else None, dangerous=True)


def mode(app: str, replication: ReplicationMode, *, wait: bool = True) -> Change:
    """Return the change of the replication mode. In async, a later failover may lose acknowledged writes."""
    dangerous = replication is ReplicationMode.ASYNC
    waits_for = replication.value if wait else None
    return Change("mode", app, {"mode": replication.value}, wait_for_mode=waits_for, dangerous=dangerous)


def pause(app: str) -> Change:
    """Return the change that pauses automatic failover; a primary that is lost meanwhile stays down."""
    return Change("pause", app, {}, dangerous=True)


def resume(app: str) -> Change:
    """Return the change that allows automatic failover again."""
    return Change("resume", app, {})


def check_confirmed(change: Change, confirm: str | None) -> None:
    """Raise OperationError, refused, when a dangerous change was not confirmed by the application's name."""
    if change.dangerous and confirm != change.app:
        raise OperationError(_unconfirmed(change, confirm), outcome=Outcome.REFUSED)


async def steer(
    fleet: Fleet, change: Change, progress: Progress, *, timeout_s: float, dry_run: bool = False
) -> Steered:
    """Request a change, and wait if it says so. ``dry_run``: ask whether it would be made.

    Raises OperationError: no agent answers, refused, aborted, or not done in time.
    """
    if "to" in change.body:
        region_in(fleet, change.body["to"])
    async with fleet.agents() as agents:
        if not dry_run:
            await request(agents, change, progress, timeout_s)
            return Steered(change, dry_run=False)
        await _row(agents, change.app)
        if change.verb not in AGENTS_DRY_RUN:
            return Steered(change, dry_run=True)
        because = await _ask(agents, change, {**change.body, "dry_run": True})
        return Steered(change, dry_run=True, because=because)


async def request(agents: Agents, change: Change, progress: Progress, timeout_s: float) -> None:
    """Request a change, and wait if it says so. Raises OperationError."""
    before = await _row(agents, change.app)
    await _ask(agents, change, change.body)
    if change.wait_for_primary or change.wait_for_mode:
        await _wait(progress, agents, change, before, timeout_s)


async def _ask(agents: Agents, change: Change, body: Mapping[str, Any]) -> str:
    """Return why the agents accept a change. Raises OperationError."""
    answer = await agents.change(change.path, body, timeout_s=REQUEST_TIMEOUT_S)
    if answer.silent:
        raise OperationError(no_agent_answers())
    if answer.status != 200:
        raise OperationError(_refused(change, answer.body), outcome=_outcome(answer.status))
    return str(answer.body["because"])


async def _row(agents: Agents, app: str) -> ApplicationRow:
    row = await _look(agents, app)
    if row is None:
        raise OperationError(no_agent_answers())
    return row


async def _look(agents: Agents, app: str) -> ApplicationRow | None:
    """Return the application's state; None when no agent answers."""
    view = situation(await agents.statuses())
    if view.revision is None:
        return None
    for row in view.applications:
        if row.name == app:
            return row
    raise OperationError(no_such_application(app, [row.name for row in view.applications]))


async def _wait(progress: Progress, agents: Agents, change: Change, before: ApplicationRow, timeout_s: float) -> None:
    """Wait for the change. Raises OperationError as soon as it can no longer succeed, or on timeout."""
    moved, reported = False, before.because
    row = before
    try:
        async with asyncio.timeout(timeout_s):
            while not _reached(change, row):
                if row.because != reported:
                    reported = row.because
                    progress.progress(f"{row.phase}: {reported}")
                moved = moved or row.phase != "steady"
                if moved and row.phase == "steady" and change.wait_for_primary not in (None, row.primary):
                    raise OperationError(_aborted(change, row), outcome=Outcome.NO)
                await asyncio.sleep(POLL_S)
                # The change continues even if no agent answers in time once.
                row = await _look(agents, change.app) or row
    except TimeoutError:
        raise OperationError(_late(change, row, timeout_s), outcome=Outcome.TIMED_OUT) from None
    if row.because != reported:
        progress.progress(f"{row.phase}: {row.because}")


def _reached(change: Change, row: ApplicationRow) -> bool:
    if change.wait_for_mode is not None:
        return row.mode == change.wait_for_mode and row.phase == "steady"
    return row.primary == change.wait_for_primary and row.phase == "steady" and row.writable


def _outcome(status: int) -> Outcome:
    match status:
        case 409:
            return Outcome.REFUSED
        case 504:
            return Outcome.TIMED_OUT
        case _:
            return Outcome.FAILED


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
