"""Drills from the command line: in a world that runs, or in one that is started for it and ended again."""

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
from leeward.drill.ending import kill_supervisor
from leeward.drill.faults import FAULTS, SUPERVISOR_KILL
from leeward.drill.names import Names
from leeward.drill.pods import ClusterPods
from leeward.drill.report import Tone, render, verdict
from leeward.drill.run import Plan, run_drill
from leeward.drill.scene import SetupError
from leeward.drill.summary import Result, Targets, document, exit_status
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
class Wish:
    """What the user wants drilled."""

    drill: str
    region: str | None
    """None: where the primary is."""
    mode: Mode | None
    """None: as it is."""
    runs: int
    duration: str | None = None
    """How long a fault that strikes again and again goes on, with its unit; None: as long as it says itself."""
    every: str | None = None
    """How often pods are killed, with its unit; None: POD_KILL_EVERY_S."""
    seed: int = 1
    app: str | None = None
    """None: the only one there is."""


def names(console: Console) -> None:
    """List every drill."""
    drills = [(fault.name, fault.summary, fault.must) for fault in FAULTS.values()]
    drills.append((SUPERVISOR_KILL, "SIGKILL to the supervisor", "nothing of the world is left"))
    console.data("\n".join(f"{name}\n  does: {summary}\n  must: {must}" for name, summary, must in drills))


def drill(console: Console, world: str | None, directory: Path | None, wish: Wish, output: TableOutput) -> ExitCode:
    """Run the drill and print its result."""
    if wish.drill not in FAULTS and wish.drill != SUPERVISOR_KILL:
        raise CommandError(_unknown(wish.drill))
    lasts_s(wish)
    every_s(wish)
    name = f"drill-{os.getpid()}"
    work = _drill(console, world, directory, wish, temporary=name)
    result = run(work, console, leftover=f"leeward down --world {name}")
    if output is TableOutput.JSON:
        console.data(json.dumps(document(result), indent=2))
    else:
        console.data(as_text(console, result))
    return code_of(result)


def code_of(result: Result) -> ExitCode:
    """Return the exit status that a result stands for."""
    return ExitCode(exit_status(result))


def as_text(console: Console, result: Result) -> str:
    """Return a result as text, coloured where stdout is to be."""
    return render(result, lambda text, tone: console.mark(text, STYLES[tone]))


def lasts_s(wish: Wish) -> float | None:
    """Return for how long it goes on, if asked. Raises CommandError for what is no duration, or of another drill."""
    lasting = [fault.name for fault in FAULTS.values() if fault.lasts_s is not None]
    return _seconds(wish, "--duration", wish.duration, lasting)


def every_s(wish: Wish) -> float:
    """Return how often pods are killed. Raises CommandError for a time that is none, or of another drill."""
    return _seconds(wish, "--every", wish.every, [POD_KILL]) or POD_KILL_EVERY_S


def _seconds(wish: Wish, option: str, text: str | None, drills: Sequence[str]) -> float | None:
    if text is None:
        return None
    try:
        seconds = parse_duration_s(text)
    except ValueError:
        seconds = 0.0
    if seconds == 0 or wish.drill not in drills:
        raise CommandError(_no_duration(wish, option, text, drills))
    return seconds


async def _drill(console: Console, world: str | None, directory: Path | None, wish: Wish, *, temporary: str) -> Result:
    async with _world(console, world, directory, temporary) as (spec, chosen):
        return await perform(console, spec, chosen, wish)


@asynccontextmanager
async def _world(
    console: Console, name: str | None, directory: Path | None, temporary: str
) -> AsyncIterator[tuple[Spec, World]]:
    """Yield the world to drill: the one that runs, unless files are given or none runs."""
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
        console.progress("ending the world")
        await asyncio.shield(chosen.down())


async def perform(console: Console, spec: Spec, world: World, wish: Wish) -> Result:
    """Run a drill in a world. Raises CommandError when it could not even begin."""
    info = await world.info()
    app = App(application_of(spec, wish.app).metadata.name)
    urls = {Region(region.name): region.agent_url for region in info.regions}
    async with HttpFleet(urls, identity_of(world)) as fleet, AsyncExitStack() as stack:
        try:
            view = await fleet.view()
            region = Region(region_of(info, wish.region).name) if wish.region else _primary(view, app)
            if wish.drill == SUPERVISOR_KILL:
                mode = view.topologies[app].mode
                return await kill_supervisor(world, app, region, mode, console.progress)
            plan = plan_of(spec, info, app, region, wish)
            clusters = {
                Region(each.name): await stack.enter_async_context(cluster_in(world, each)) for each in info.regions
            }
            application = spec.application(app)
            pods = ClusterPods(clusters, application.namespace, pods_of(application))
            result = await run_drill(plan, world, fleet, pods, console.progress)
            await _keep(console, fleet, app, LastDrill(wish.drill, result.replication, verdict(result), time.time()))
            return result
        except (FleetUnavailableError, RefusedError, SetupError) as error:
            raise CommandError(_not_begun(wish.drill, error)) from error


def application_of(spec: Spec, name: str | None) -> Application:
    """Return the application of that name, or the only one there is. Raises CommandError."""
    known = [each.metadata.name for each in spec.applications]
    if name is None and len(known) == 1:
        return spec.applications[0]
    if name in known:
        return spec.application(name)
    raise CommandError(
        Problem(
            code="which-application",
            where="command line",
            what=f"there is no application {name}" if name else f"there are {len(known)} applications",
            why="one application at a time is put under load and judged",
            fix=f"--app {' | '.join(sorted(known))}",
        )
    )


async def _keep(console: Console, fleet: HttpFleet, app: App, ended: LastDrill) -> None:
    """Tell the agents how the drill ended: they show it from now on. The result stands without them."""
    try:
        await fleet.record_drill(app, ended)
    except (FleetUnavailableError, RefusedError) as error:
        console.note(f"status will not show this drill: {error}")


def plan_of(spec: Spec, info: WorldInfo, app: App, region: Region, wish: Wish) -> Plan:
    """Return the plan of a drill: the files' objectives, the world's doors."""
    application = spec.application(app)
    objectives = application.spec.objectives
    placed = spec.placement(application)
    return Plan(
        drill=wish.drill,
        app=app,
        region=region,
        mode=None if wish.mode is None else ReplicationMode(wish.mode.value),
        runs=wish.runs,
        targets=Targets(rto_s=objectives.rto_s, rpo_s=objectives.rpo_s),
        lease_s=spec.patience(application).takeover_s,
        budget=spec.budget(application),
        gateways={Region(each.name): each.gateway_url for each in info.regions if each.name in placed},
        host=host_of(spec, application),
        names=names_of(spec, info, app),
        lasts_s=lasts_s(wish),
        every_s=every_s(wish),
        seed=wish.seed,
        round_trips_s={(Region(a), Region(b)): spec.rtt_s(a, b) for a, b in combinations(placed, 2)},
    )


def names_of(spec: Spec, info: WorldInfo, app: App) -> Names | None:
    """Return where to ask for the application's name; None where the agents do not answer."""
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
        what=f"there is no drill {name!r}",
        why=f"known are: {', '.join([*FAULTS, SUPERVISOR_KILL])}",
        fix="name one of them; leeward drill list says what each does",
    )


def _no_duration(wish: Wish, option: str, text: str, drills: Sequence[str]) -> Problem:
    return Problem(
        code="bad-duration",
        where="command line",
        what=f"{option} {text} makes no sense for {wish.drill}",
        why=f"it is for {', '.join(drills)}, and needs a number above 0 with a unit",
        fix=f"leeward drill {drills[0]} {option} 90s; or 10m, or 1h",
    )


def _no_files() -> Problem:
    return Problem(
        code="no-world",
        where=f"{Path.cwd()}",
        what="no world is running, and there are no files to start one from",
        why=f"without -f they would be {EXAMPLE}, which is not here",
        fix="give a directory with -f DIR, or start a world with leeward up DIR",
    )


def _not_begun(name: str, error: Exception) -> Problem:
    return Problem(
        code="drill-not-begun",
        where=f"drill {name}",
        what="it could not begin, so it says nothing",
        why=str(error),
        fix="see leeward status for what is in the way, and repeat it when it is gone",
    )
