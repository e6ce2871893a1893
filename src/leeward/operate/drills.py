"""Drills: in a running world, or in one that is started for the drill and stopped afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from leeward.base.problem import Problem
from leeward.base.units import duration_text
from leeward.compile.names import host_of
from leeward.compile.site import pods_of
from leeward.compile.target import answers_dns
from leeward.core.values import App, LastDrill, Region, ReplicationMode
from leeward.drill.access import FleetUnavailableError, FleetView, RefusedError
from leeward.drill.agents import HttpFleet
from leeward.drill.faults import FAULTS, SUPERVISOR_KILL
from leeward.drill.names import Names
from leeward.drill.pods import ClusterPods
from leeward.drill.report import verdict
from leeward.drill.run import Plan, run_drill
from leeward.drill.scene import SetupError
from leeward.drill.summary import Result, Targets
from leeward.drill.supervisor_kill import kill_supervisor
from leeward.operate import starting
from leeward.operate.outcome import OperationError, Progress
from leeward.operate.problems import which_application
from leeward.operate.worlds import choose, cluster_in, identity_of, region_of
from leeward.spec import Spec, load
from leeward.spec.application import Application
from leeward.world.client import World, list_worlds
from leeward.world.model import GATEWAY_ENDPOINT, WorldInfo, address, network

EXAMPLE = "examples/payments"
"""The files to start a world from, when none runs and none are given."""
START_TIMEOUT_S = 240.0
POD_KILL = "pod-kill"
POD_KILL_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class DrillRequest:
    """Which drill to run, and how."""

    drill: str
    region: str | None
    """None: the primary's region."""
    mode: ReplicationMode | None
    """None: unchanged."""
    runs: int
    lasts_s: float | None = None
    """How long a recurring fault lasts; None: the fault's default."""
    every_s: float | None = None
    """Interval between pod kills; None: POD_KILL_EVERY_S."""
    seed: int = 1
    app: str | None = None
    """None: the only one."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A drill that can be run."""

    name: str
    does: str
    must: str
    """What must hold afterwards."""


def kinds() -> list[Kind]:
    """Return every drill."""
    found = [Kind(fault.name, fault.summary, fault.must) for fault in FAULTS.values()]
    return [*found, Kind(SUPERVISOR_KILL, "SIGKILL to the supervisor", "nothing of the world is left")]


async def drill(
    world: str | None, directory: Path | None, request: DrillRequest, progress: Progress, *, temporary: str
) -> Result:
    """Run a drill in the running world, unless files are given or none runs; then in one of the name ``temporary``.

    Raises OperationError when it cannot start.
    """
    check(request)
    async with _world(progress, world, directory, temporary) as (spec, chosen):
        return await perform(progress, spec, chosen, request)


def check(request: DrillRequest) -> None:
    """Raise OperationError for an unknown drill, or for a duration that it does not take."""
    if request.drill not in FAULTS and request.drill != SUPERVISOR_KILL:
        raise OperationError(_unknown(request.drill))
    lasting = [fault.name for fault in FAULTS.values() if fault.lasts_s is not None]
    for option, seconds, takes in (
        ("--duration", request.lasts_s, lasting),
        ("--every", request.every_s, [POD_KILL]),
    ):
        if seconds is not None and (seconds == 0 or request.drill not in takes):
            raise OperationError(_bad_duration(request, option, seconds, takes))


@asynccontextmanager
async def _world(
    progress: Progress, name: str | None, directory: Path | None, temporary: str
) -> AsyncIterator[tuple[Spec, World]]:
    """Yield the world to drill: the running one, unless files are given or none runs."""
    if directory is None and (name is not None or list_worlds()):
        async with choose(name) as chosen:
            yield load(Path((await chosen.info()).files[0])), chosen
        return
    files = directory or Path(EXAMPLE)
    if directory is None and not files.is_dir():
        raise OperationError(_no_files())
    spec, chosen = await starting.start(progress, files, name or temporary, START_TIMEOUT_S)
    try:
        yield spec, chosen
    finally:
        progress.progress("stopping the world")
        await asyncio.shield(chosen.down())


async def perform(progress: Progress, spec: Spec, world: World, request: DrillRequest) -> Result:
    """Run a drill in a world. Raises OperationError when it cannot start."""
    info = await world.info()
    app = App(application_of(spec, request.app).metadata.name)
    urls = {Region(region.name): region.agent_url for region in info.regions}
    async with HttpFleet(urls, identity_of(world)) as fleet, AsyncExitStack() as stack:
        try:
            view = await fleet.view()
            region = Region(region_of(info, request.region).name) if request.region else _primary(view, app)
            if request.drill == SUPERVISOR_KILL:
                mode = view.topologies[app].mode
                return await kill_supervisor(world, app, region, mode, progress.progress)
            plan = plan_of(spec, info, app, region, request)
            clusters = {
                Region(each.name): await stack.enter_async_context(cluster_in(world, each)) for each in info.regions
            }
            application = spec.application(app)
            pods = ClusterPods(clusters, application.namespace, pods_of(application))
            result = await run_drill(plan, world, fleet, pods, progress.progress)
            await _record(
                progress, fleet, app, LastDrill(request.drill, result.replication, verdict(result), time.time())
            )
            return result
        except (FleetUnavailableError, RefusedError, SetupError) as error:
            raise OperationError(_not_begun(request.drill, error)) from error


def application_of(spec: Spec, name: str | None) -> Application:
    """Return the application of that name, or the only one. Raises OperationError."""
    known = [each.metadata.name for each in spec.applications]
    if name is None and len(known) == 1:
        return spec.applications[0]
    if name in known:
        return spec.application(name)
    why = "one application at a time is put under load and judged"
    raise which_application(name, known, where="command line", why=why, usage="--app ")


async def _record(progress: Progress, fleet: HttpFleet, app: App, ended: LastDrill) -> None:
    """Report the drill's outcome to the agents, which show it from now on. The result does not depend on that."""
    try:
        await fleet.record_drill(app, ended)
    except (FleetUnavailableError, RefusedError) as error:
        progress.note(f"status will not show this drill: {error}")


def plan_of(spec: Spec, info: WorldInfo, app: App, region: Region, request: DrillRequest) -> Plan:
    """Return the plan of a drill: the files' objectives, the world's addresses."""
    application = spec.application(app)
    objectives = application.spec.objectives
    placed = spec.placement(application)
    return Plan(
        drill=request.drill,
        app=app,
        region=region,
        mode=request.mode,
        runs=request.runs,
        targets=Targets(rto_s=objectives.rto_s, rpo_s=objectives.rpo_s),
        lease_s=spec.patience(application).takeover_s,
        budget=spec.budget(application),
        gateways={Region(each.name): each.gateway_url for each in info.regions if each.name in placed},
        host=host_of(spec, application),
        names=names_of(spec, info, app),
        lasts_s=request.lasts_s,
        every_s=POD_KILL_EVERY_S if request.every_s is None else request.every_s,
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
        gateways={address(each.index, GATEWAY_ENDPOINT[0]): Region(each.name) for each in info.regions},
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


def _bad_duration(request: DrillRequest, option: str, seconds: float, drills: Sequence[str]) -> Problem:
    return Problem(
        code="bad-duration",
        where="command line",
        what=f"{option} {duration_text(seconds)} is not valid for {request.drill}",
        why=f"expected a duration above 0, for {', '.join(drills)} only",
        fix=f"leeward drill {drills[0]} {option} 90s; or 10m, or 1h",
    )


def _no_files() -> Problem:
    return Problem(
        code="no-world",
        where=f"{Path.cwd()}",
        what="no world is running, and there are no files to start one from",
        why=f"the default for -f is {EXAMPLE}, which does not exist here",
        fix="give a directory with -f DIR, or start a world with leeward up -f DIR",
    )


def _not_begun(name: str, error: Exception) -> Problem:
    return Problem(
        code="drill-not-begun",
        where=f"drill {name}",
        what="it could not start, so it has no result",
        why=str(error),
        fix="see leeward status for the cause, and retry once it is resolved",
    )
