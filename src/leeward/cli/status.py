"""Show a fleet's status: one quorum revision, its age, and who did not answer."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from leeward.base.units import duration_cell, size_text
from leeward.cli.console import Console, Style
from leeward.cli.exits import ExitCode
from leeward.cli.forms import Output
from leeward.cli.locations import front_doors
from leeward.cli.render import table
from leeward.cli.session import Session
from leeward.core.conditions.values import WORRYING, Status, Type
from leeward.core.values import LastDrill
from leeward.operate.fleet import Fleet
from leeward.operate.situation import ApplicationRow, RegionRow, Situation, only, situation
from leeward.world.model import WorldInfo

WATCH_PERIOD_S = 1.0


# Shown by lines of their own in the headline.
SHOWN_ELSEWHERE = (Type.READY, Type.PRIMARY_WRITABLE, Type.QUORUM_AVAILABLE, Type.PAUSED)
WITHOUT_FAILOVER = ("FailoverPaused", "FailoverObserved")
"""Reasons of ObjectivesFeasible that the line about automatic failover repeats."""


def show(session: Session, *, watch: bool, conditions: bool = False) -> ExitCode:
    """Print the status, of one application only if it was named, once or every second until Ctrl-C."""

    async def once(fleet: Fleet) -> ExitCode:
        return await _look(session, fleet, conditions=conditions)

    async def again(fleet: Fleet) -> ExitCode:
        while True:
            await _look(session, fleet, conditions=conditions, again=True)
            await asyncio.sleep(WATCH_PERIOD_S)
            fleet = await fleet.refreshed()

    return session.run(again if watch else once)


async def _look(session: Session, fleet: Fleet, *, conditions: bool, again: bool = False) -> ExitCode:
    async with fleet.agents() as agents:
        view = only(session.app, situation(await agents.statuses()))
    world = fleet.world
    page = Page(fleet.name, fleet.regions, world, wide=session.form.output is Output.WIDE, conditions=conditions)
    if again:
        session.console.clear()
    session.answer(
        "Status",
        {"world": None if world is None else asdict(world), **asdict(view)},
        lambda: render(session.console, page, view, now_s=time.time()),
        [f"application/{row.name}" for row in view.applications],
    )
    return ExitCode.NO if view.revision is None else ExitCode.DONE


@dataclass(frozen=True, slots=True)
class Page:
    """What the page shows besides the situation."""

    fleet: str
    regions: tuple[str, ...]
    world: WorldInfo | None
    """None: the fleet runs elsewhere."""
    wide: bool = False
    conditions: bool = False


def render(console: Console, page: Page, view: Situation, *, now_s: float) -> str:
    """Return the whole page."""
    parts = [_headline(console, page, view)]
    if view.applications:
        parts.append(_applications(page, view, now_s))
        if page.conditions:
            parts += [_conditions(row, now_s) for row in view.applications]
        parts.append(_regions(page, view))
    if page.world is not None:
        parts.append(front_doors(page.world))
    return "\n\n".join(parts)


def _headline(console: Console, page: Page, view: Situation) -> str:
    answered = f"{len(view.answered)} of {len(page.regions)} regions answered"
    if view.revision is None:
        state = console.mark("no agent knows the quorum's state", Style.BAD)
    else:
        age = duration_cell(view.age_s or 0.0)
        state = f"revision {view.revision}, {age} old, by {view.source}"
    world = "" if page.world is None else f"world {page.world.name}, "
    lines = [f"{world}fleet {page.fleet}: {state}; {answered}"]
    processes = (
        {} if page.world is None else {each.name: f"{each.state}: {each.because}; " for each in page.world.regions}
    )
    lines += [
        console.mark(f"silent: {each.region}", Style.WARNING) + f" ({processes.get(each.region, '')}{each.because})"
        for each in view.silent
    ]
    for row in view.applications:
        if row.phase != "steady" or not row.writable:
            lines.append(console.mark(f"{row.name}: {row.phase}", Style.WARNING) + f", because {row.because}")
        elif row.changing is not None:
            lines.append(f"{row.name}: {row.changing}, because {row.because}")
        if row.paused:
            lines.append(console.mark(f"{row.name}: automatic failover is paused", Style.WARNING))
        if _observing(row):
            off = console.mark(f"{row.name}: automatic failover is off", Style.WARNING)
            lines.append(f"{off}, because failover is set to observe; {row.withheld_failovers} withheld so far")
        lines += [
            console.mark(f"{row.name}: {each['type']} is {each['status']}", Style.WARNING) + f", because {message}"
            for each in row.conditions
            if _worrying(each)
            and each["type"] not in SHOWN_ELSEWHERE
            and each["reason"] not in WITHOUT_FAILOVER
            and (message := each["message"]) != row.because
        ]
    lines += [
        console.mark(f"{each.application}: deep health fails in {each.region}", Style.WARNING)
        + f", because {each.deep['because']} ({duration_cell(each.deep['age_s'])} ago)"
        for each in view.regions
        if each.deep is not None and not each.deep["healthy"]
    ]
    return "\n".join(lines)


def _worrying(condition: Mapping[str, Any]) -> bool:
    return (condition["type"], condition["status"]) in {(of, status) for of, status in WORRYING.items()}


def _observing(row: ApplicationRow) -> bool:
    return any((each["type"], each["status"]) == (Type.OBSERVING, Status.TRUE) for each in row.conditions)


def _conditions(row: ApplicationRow, now_s: float) -> str:
    """Return an application's conditions, as ``kubectl describe`` has them."""
    lines = [
        (
            each["type"],
            each["status"],
            each["reason"],
            duration_cell(max(0.0, now_s - datetime.fromisoformat(each["lastTransitionTime"]).timestamp())),
            each["message"],
        )
        for each in row.conditions
    ]
    return table([f"{row.name.upper()}:CONDITION", "STATUS", "REASON", "SINCE", "BECAUSE"], lines)


def _applications(page: Page, view: Situation, now_s: float) -> str:
    age = None if page.world is None else duration_cell(now_s - page.world.started_at_unix_s)
    drills = view.drills
    head = ["NAME", "READY", "PRIMARY", "EPOCH", "MODE", "LAG", "RPO", "DRILL", "NEEDLESS", "AGE"]
    rows = [
        [
            row.name,
            f"{row.ready}/{row.regions}",
            row.primary,
            row.epoch,
            row.mode,
            _lag(row),
            _rpo(row),
            drills[row.name].verdict if row.name in drills else None,
            row.needless_failovers,
            age,
        ]
        for row in view.applications
    ]
    if page.wide:
        head += ["WITHHELD", "OBJECTIVE", "LAST-DRILL", "PHASE", "BECAUSE"]
        rows = [
            [
                *cells,
                row.withheld_failovers,
                _objective(row),
                _last(drills.get(row.name), now_s),
                row.phase,
                row.because,
            ]
            for cells, row in zip(rows, view.applications, strict=True)
        ]
    return table(head, rows)


def _lag(row: ApplicationRow | RegionRow) -> str | None:
    return None if row.lag_bytes is None else size_text(row.lag_bytes)


def _rpo(row: ApplicationRow) -> str | None:
    """Return what the loss of the primary's region would cost now; the objective while it is not measured."""
    if row.mode != "async":
        return "0"
    return _objective(row) if row.rpo_s is None else duration_cell(row.rpo_s)


def _objective(row: ApplicationRow) -> str | None:
    return None if row.objectives is None else f"<={duration_cell(row.objectives.rpo_s)}"


def _last(drill: LastDrill | None, now_s: float) -> str | None:
    return None if drill is None else f"{drill.drill}, {duration_cell(now_s - drill.at_unix_s)} ago"


def _regions(page: Page, view: Situation) -> str:
    states = {} if page.world is None else {region.name: region.state for region in page.world.regions}
    head = ["REGION", "STATE", "APP", "ROLE", "PODS", "LAG", "HEARTBEAT"]
    rows = [
        [
            row.region,
            states.get(row.region),
            row.application,
            "primary, writable" if row.writable else row.role,
            row.pods_ready,
            _lag(row),
            None if row.heartbeat_age_s is None else f"{duration_cell(row.heartbeat_age_s)} ago",
        ]
        for row in view.regions
    ]
    if any(row.users_to for row in view.regions):
        head.append("USERS-TO")
        rows = [[*cells, ", ".join(row.users_to)] for cells, row in zip(rows, view.regions, strict=True)]
    if page.wide:
        head += ["DEEP-HEALTH", "UPSTREAM", "PROBLEM"]
        rows = [[*cells, _deep(row), row.upstream, row.problem] for cells, row in zip(rows, view.regions, strict=True)]
    return table(head, rows)


def _deep(row: RegionRow) -> str | None:
    return None if row.deep is None else "healthy" if row.deep["healthy"] else "fails"
