"""Drills from the command line: in a running world, or in one that is started for the drill and stopped afterwards."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from leeward.base.units import parse_duration_s
from leeward.cli import start
from leeward.cli.console import Console, Style
from leeward.cli.exits import CommandError, ExitCode
from leeward.cli.forms import EXAMPLE, Mode, TableOutput
from leeward.cli.running import run
from leeward.cli.worlds_here import choose, cluster_in, identity_of, region_of
from leeward.compile.names import host_of
from leeward.compile.site import pods_of
from leeward.compile.target import answers_dns
from leeward.core.values import App, LastDrill, Region, ReplicationMode
from leeward.drill.access import FleetUnavailableError, FleetView, RefusedError
from leeward.drill.agents import HttpFleet
from leeward.drill.faults import FAULTS, SUPERVISOR_KILL
from leeward.drill.names import Names
from leeward.drill.pods import ClusterPods
from leeward.drill.report import Tone, render, verdict
from leeward.drill.run import Plan, run_drill
from leeward.drill.scene import SetupError
from leeward.drill.summary import Result, Targets, document, exit_status
from leeward.drill.supervisor_kill import kill_supervisor
from leeward.spec import Problem, Spec, load
from leeward.spec.application import Application
from leeward.world.client import World, list_worlds
from leeward.world.model import GATEWAY_DOOR, WorldInfo, address, network

START_TIMEOUT_S = 240.0
STYLES = {
    Tone.HEADING: Style.STRONG,
    Tone.GOOD: Style.GOOD,
    Tone.BAD: Style.BAD,
    Tone.WARNING: Style.WARNING,
}
POD_KILL = "pod-kill"
POD_KILL_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class DrillRequest:
    """Which drill to run, and how."""

    drill: str
    region: str | None
    """None: the primary's region."""
    mode: Mode | None
    """None: unchanged."""
    runs: int
    duration: str | None = None
    """How long a recurring fault lasts, with its unit; None: the fault's default."""
    every: str | None = None
    """Interval between pod kills, with its unit; None: POD_KILL_EVERY_S."""
    seed: int = 1
    app: str | None = None
    """None: the only one."""


def names(console: Console) -> None:
    """List every drill."""
    drills = [(fault.name, fault.summary, fault.must) for fault in FAULTS.values()]
    drills.append((SUPERVISOR_KILL, "SIGKILL to the supervisor", "nothing of the world is left"))
    console.data("\n".join(f"{name}\n  does: {summary}\n  must: {must}" for name, summary, must in drills))


def drill(
    console: Console, world: str | None, directory: Path | None, request: DrillRequest, output: TableOutput
) -> ExitCode:
    """Run the drill and print its result."""
    if request.drill not in FAULTS and request.drill != SUPERVISOR_KILL:
        raise CommandError(_unknown(request.drill))
    lasts_s(request)
    every_s(request)
    name = f"drill-{os.getpid()}"
    work = _drill(console, world, directory, request, temporary=name)
    result = run(work, console, leftover=f"leeward down --world {name}")
    if output is TableOutput.JSON:
        console.data(json.dumps(document(result), indent=2))
    else:
        console.data(as_text(console, result))
    return code_of(result)


def code_of(result: Result) -> ExitCode:
    """Return the exit status of a result."""
    return ExitCode(exit_status(result))


def as_text(console: Console, result: Result) -> str:
    """Return a result as text, with colours where stdout has them."""
    return render(result, lambda text, tone: console.mark(text, STYLES[tone]))


def lasts_s(request: DrillRequest) -> float | None:
    """Return the requested duration. Raises CommandError if it is invalid or the drill takes none."""
    lasting = [fault.name for fault in FAULTS.values() if fault.lasts_s is not None]
    return _seconds(request, "--duration", request.duration, lasting)


def every_s(request: DrillRequest) -> float:
    """Return the interval between pod kills. Raises CommandError if it is invalid or the drill takes none."""
    return _seconds(request, "--every", request.every, [POD_KILL]) or POD_KILL_EVERY_S


def _seconds(request: DrillRequest, option: str, text: str | None, drills: Sequence[str]) -> float | None:
    if text is None:
        return None
    try:
        seconds = parse_duration_s(text)
    except ValueError:
        seconds = 0.0
    if seconds == 0 or request.drill not in drills:
        raise CommandError(_bad_duration(request, option, text, drills))
    return seconds


async def _drill(
    console: Console, world: str | None, directory: Path | None, request: DrillRequest, *, temporary: str
) -> Result:
    async with _world(console, world, directory, temporary) as (spec, chosen):
        return await perform(console, spec, chosen, request)


@asynccontextmanager
async def _world(
    console: Console, name: str | None, directory: Path | None, temporary: str
) -> AsyncIterator[tuple[Spec, World]]:
    """Yield the world to drill: the running one, unless files are given or none runs."""
    if directory is None and (name is not None or list_worlds()):
        async with choose(name) as chosen:
            yield load(Path((await chosen.info()).files[0])), chosen
        return
    files = directory or Path(EXAMPLE)
    if directory is None and not files.is_dir():
        raise CommandError(_no_files())
    spec, chosen = await start.start(console, files, name or temporary, START_TIMEOUT_S)
    try:
        yield spec, chosen
    finally:
        console.progress("stopping the world")
        await asyncio.shield(chosen.down())


async def perform(console: Console, spec: Spec, world: World, request: DrillRequest) -> Result:
    """Run a drill in a world. Raises CommandError when it cannot start."""
    info = await world.info()
    app = App(application_of(spec, request.app).metadata.name)
    urls = {Region(region.name): region.agent_url for region in info.regions}
    async with HttpFleet(urls, identity_of(world)) as fleet, AsyncExitStack() as stack:
        try:
            view = await fleet.view()
            region = Region(region_of(info, request.region).name) if request.region else _primary(view, app)
            if request.drill == SUPERVISOR_KILL:
                mode = view.topologies[app].mode
                return await kill_supervisor(world, app, region, mode, console.progress)
            plan = plan_of(spec, info, app, region, request)
            clusters = {
                Region(each.name): await stack.enter_async_context(cluster_in(world, each)) for each in info.regions
            }
            application = spec.application(app)
            pods = ClusterPods(clusters, application.namespace, pods_of(application))
            result = await run_drill(plan, world, fleet, pods, console.progress)
            await _record(
                console, fleet, app, LastDrill(request.drill, result.replication, verdict(result), time.time())
            )
            return result
        except (FleetUnavailableError, RefusedError, SetupError) as error:
            raise CommandError(_not_begun(request.drill, error)) from error


def application_of(spec: Spec, name: str | None) -> Application:
    """Return the application of that name, or the only one. Raises CommandError."""
    known = [each.metadata.name for each in spec.applications]
    if name is None and len(known) == 1:
        return spec.applications[0]
    if name in known:
        return spec.application(name)
    raise CommandError(
        Problem(
            code="which-application",
            where="command line",
            what=f"unknown application {name}" if name else f"there are {len(known)} applications",
            why="one application at a time is put under load and judged",
            fix=f"--app {' | '.join(sorted(known))}",
        )
    )


async def _record(console: Console, fleet: HttpFleet, app: App, ended: LastDrill) -> None:
    """Report the drill's outcome to the agents, which show it from now on. The result does not depend on that."""
    try:
        await fleet.record_drill(app, ended)
    except (FleetUnavailableError, RefusedError) as error:
        console.note(f"status will not show this drill: {error}")


def plan_of(spec: Spec, info: WorldInfo, app: App, region: Region, request: DrillRequest) -> Plan:
    """Return the plan of a drill: the files' objectives, the world's addresses."""
    application = spec.application(app)
    objectives = application.spec.objectives
    placed = spec.placement(application)
    return Plan(
        drill=request.drill,
        app=app,
        region=region,
        mode=None if request.mode is None else ReplicationMode(request.mode.value),
        runs=request.runs,
        targets=Targets(rto_s=objectives.rto_s, rpo_s=objectives.rpo_s),
        lease_s=spec.patience(application).takeover_s,
        budget=spec.budget(application),
        gateways={Region(each.name): each.gateway_url for each in info.regions if each.name in placed},
        host=host_of(spec, application),
        names=names_of(spec, info, app),
        lasts_s=lasts_s(request),
        every_s=every_s(request),
        seed=request.seed,
        round_trips_s={(Region(a), Region(b)): spec.rtt_s(a, b) for a, b in combinations(placed, 2)},
    )


def names_of(spec: Spec, info: WorldInfo, app: App) -> Names | None:
    """Return where to resolve the application's name; None where the agents do not serve DNS."""
    if not answers_dns(spec):
        return None
    return Names(
        host=host_of(spec, spec.application(app)),
        servers={Region(each.name): (each.dns_host, each.dns_port) for each in info.regions},
        networks={Region(each.name): network(each.index) for each in info.regions},
        gateways={address(each.index, GATEWAY_DOOR[0]): Region(each.name) for each in info.regions},
    )


def _primary(view: FleetView, app: App) -> Region:
    topology = view.topologies.get(app)
    if topology is None or topology.primary is None:
        raise SetupError(f"{app} has no primary at the moment: {view.because.get(app, 'it has no topology yet')}")
    return topology.primary


def _unknown(name: str) -> Problem:
    return Problem(
        code="unknown-drill",
        where="command line",
        what=f"unknown drill {name!r}",
        why=f"known drills: {', '.join([*FAULTS, SUPERVISOR_KILL])}",
        fix="use one of these; leeward drill list describes each",
    )


def _bad_duration(request: DrillRequest, option: str, text: str, drills: Sequence[str]) -> Problem:
    return Problem(
        code="bad-duration",
        where="command line",
        what=f"{option} {text} is not valid for {request.drill}",
        why=f"expected a number above 0 with a unit, for {', '.join(drills)} only",
        fix=f"leeward drill {drills[0]} {option} 90s; or 10m, or 1h",
    )


def _no_files() -> Problem:
    return Problem(
        code="no-world",
        where=f"{Path.cwd()}",
        what="no world is running, and there are no files to start one from",
        why=f"the default for -f is {EXAMPLE}, which does not exist here",
        fix="give a directory with -f DIR, or start a world with leeward up DIR",
    )


def _not_begun(name: str, error: Exception) -> Problem:
    return Problem(
        code="drill-not-begun",
        where=f"drill {name}",
        what="it could not start, so it has no result",
        why=str(error),
        fix="see leeward status for the cause, and retry once it is resolved",
    )
