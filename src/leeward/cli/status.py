"""Show a world's status: one quorum revision, its age, and who did not answer."""

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from leeward.base.units import duration_cell, size_text
from leeward.cli import jsonpath
from leeward.cli.console import Console, Style
from leeward.cli.exits import CommandError, ExitCode
from leeward.cli.forms import Form, Output
from leeward.cli.render import API_VERSION, as_json, as_yaml, table
from leeward.cli.running import run
from leeward.cli.running_worlds import front_doors
from leeward.cli.situation import ApplicationRow, RegionRow, Situation, situation
from leeward.cli.worlds_here import agents_of, choose
from leeward.core.conditions.values import WORRYING, Status, Type
from leeward.core.values import LastDrill
from leeward.spec import Problem, ProblemsError, load
from leeward.world.client import World
from leeward.world.model import WorldInfo

WATCH_PERIOD_S = 1.0
CLEAR = "\x1b[H\x1b[2J"


# Shown by lines of their own in the headline.
SHOWN_ELSEWHERE = (Type.READY, Type.PRIMARY_WRITABLE, Type.QUORUM_AVAILABLE, Type.PAUSED)
WITHOUT_FAILOVER = ("FailoverPaused", "FailoverObserved")
"""Reasons of ObjectivesFeasible that the line about automatic failover repeats."""


def show(
    console: Console, name: str | None, app: str | None, form: Form, *, watch: bool, conditions: bool = False
) -> ExitCode:
    """Print the status, of one application only if ``app`` is given, once or every second until Ctrl-C."""
    work = _watch if watch else _once
    return run(work(console, name, app, form, conditions=conditions), console)


async def _once(console: Console, name: str | None, app: str | None, form: Form, *, conditions: bool) -> ExitCode:
    async with choose(name) as world:
        return await _look(console, world, app, form, before="", conditions=conditions)


async def _watch(console: Console, name: str | None, app: str | None, form: Form, *, conditions: bool) -> ExitCode:
    before = CLEAR if sys.stdout.isatty() else ""
    async with choose(name) as world:
        while True:
            await _look(console, world, app, form, before=before, conditions=conditions)
            await asyncio.sleep(WATCH_PERIOD_S)


async def _look(
    console: Console, world: World, app: str | None, form: Form, *, before: str, conditions: bool
) -> ExitCode:
    info = await world.info()
    async with agents_of(world, info) as agents:
        view = only(app, situation(await agents.statuses()))
    body = {"world": asdict(info), **asdict(view)}
    match form.output:
        case Output.JSON:
            text = as_json("Status", body)
        case Output.YAML:
            text = as_yaml(json.loads(as_json("Status", body)))
        case Output.JSONPATH:
            document = {"apiVersion": API_VERSION, "kind": "Status", **json.loads(json.dumps(body))}
            text = jsonpath.render(form.template, document)
        case Output.NAME:
            text = "\n".join(f"application/{row.name}" for row in view.applications)
        case Output.TABLE | Output.WIDE:
            wide = form.output is Output.WIDE
            text = render(
                console, info, view, _objectives(info), now_s=time.time(), wide=wide, show_conditions=conditions
            )
    console.data(before + text)
    return ExitCode.NO if view.revision is None else ExitCode.DONE


def only(app: str | None, view: Situation) -> Situation:
    """Return the part of one application. Raises CommandError if it is unknown."""
    if app is None or view.revision is None:
        return view
    applications = tuple(row for row in view.applications if row.name == app)
    if not applications:
        raise CommandError(
            Problem(
                code="no-such-application",
                where="command line",
                what=f"unknown application {app}",
                why=f"the fleet has {', '.join(row.name for row in view.applications) or 'none yet'}",
                fix="use one of these names, or omit it to see all",
            )
        )
    return replace(
        view,
        applications=applications,
        regions=tuple(row for row in view.regions if row.application == app),
        drills={name: drill for name, drill in view.drills.items() if name == app},
    )


def _objectives(info: WorldInfo) -> dict[str, float]:
    """Return each application's RPO in seconds; empty when the files are missing or invalid."""
    try:
        spec = load(Path(info.files[0]))
    except (ProblemsError, IndexError):
        return {}
    return {each.metadata.name: each.spec.objectives.rpo_s for each in spec.applications}


def render(
    console: Console,
    info: WorldInfo,
    view: Situation,
    rpo_s: Mapping[str, float],
    *,
    now_s: float,
    wide: bool = False,
    show_conditions: bool = False,
) -> str:
    """Return the whole page."""
    parts = [_headline(console, info, view)]
    if view.applications:
        age_s = now_s - info.started_at_unix_s
        parts.append(_applications(view, rpo_s, view.drills, age_s=age_s, now_s=now_s, wide=wide))
        if show_conditions:
            parts += [_conditions(row, now_s) for row in view.applications]
        parts.append(_regions(info, view, wide=wide))
    parts.append(front_doors(info))
    return "\n\n".join(parts)


def _headline(console: Console, info: WorldInfo, view: Situation) -> str:
    answered = f"{len(view.answered)} of {len(info.regions)} regions answered"
    if view.revision is None:
        state = console.mark("no agent knows the quorum's state", Style.BAD)
    else:
        age = duration_cell(view.age_s or 0.0)
        state = f"revision {view.revision}, {age} old, by {view.source}"
    lines = [f"world {info.name}, fleet {info.fleet}: {state}; {answered}"]
    known = {region.name: region for region in info.regions}
    for silence in view.silent:
        process = known[silence.region]
        lines.append(
            console.mark(f"silent: {silence.region}", Style.WARNING)
            + f" ({process.state}: {process.because}; {silence.because})"
        )
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


def _applications(
    view: Situation,
    rpo_s: Mapping[str, float],
    drills: Mapping[str, LastDrill],
    *,
    age_s: float,
    now_s: float,
    wide: bool,
) -> str:
    head = ["NAME", "READY", "PRIMARY", "EPOCH", "MODE", "LAG", "RPO", "DRILL", "NEEDLESS", "AGE"]
    rows = [
        [
            row.name,
            f"{row.ready}/{row.regions}",
            row.primary,
            row.epoch,
            row.mode,
            _lag(row),
            _rpo(row, rpo_s.get(row.name)),
            drills[row.name].verdict if row.name in drills else None,
            row.needless_failovers,
            duration_cell(age_s),
        ]
        for row in view.applications
    ]
    if wide:
        head += ["WITHHELD", "OBJECTIVE", "LAST-DRILL", "PHASE", "BECAUSE"]
        rows = [
            [
                *cells,
                row.withheld_failovers,
                _objective(rpo_s.get(row.name)),
                _last(drills.get(row.name), now_s),
                row.phase,
                row.because,
            ]
            for cells, row in zip(rows, view.applications, strict=True)
        ]
    return table(head, rows)


def _lag(row: ApplicationRow | RegionRow) -> str | None:
    return None if row.lag_bytes is None else size_text(row.lag_bytes)


def _rpo(row: ApplicationRow, objective_s: float | None) -> str | None:
    """Return what the loss of the primary's region would cost now; the objective while it is not measured."""
    if row.mode != "async":
        return "0"
    return _objective(objective_s) if row.rpo_s is None else duration_cell(row.rpo_s)


def _objective(objective_s: float | None) -> str | None:
    return None if objective_s is None else f"<={duration_cell(objective_s)}"


def _last(drill: LastDrill | None, now_s: float) -> str | None:
    return None if drill is None else f"{drill.drill}, {duration_cell(now_s - drill.at_unix_s)} ago"


def _regions(info: WorldInfo, view: Situation, *, wide: bool) -> str:
    states = {region.name: region.state for region in info.regions}
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
    if wide:
        head += ["DEEP-HEALTH", "UPSTREAM", "PROBLEM"]
        rows = [[*cells, _deep(row), row.upstream, row.problem] for cells, row in zip(rows, view.regions, strict=True)]
    return table(head, rows)


def _deep(row: RegionRow) -> str | None:
    return None if row.deep is None else "healthy" if row.deep["healthy"] else "fails"
