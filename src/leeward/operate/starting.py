"""Start a world and wait until it is ready; report what is missing, and why, if it is not ready in time."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from leeward.adapters.kubernetes.client import KubernetesCluster
from leeward.base.problem import Problem
from leeward.core.dns.settings import Policy
from leeward.core.values import App, Region
from leeward.drill.access import FleetUnavailableError, unsettled
from leeward.drill.agents import HttpFleet
from leeward.operate import assemble
from leeward.operate.agents import Agents, Answer
from leeward.operate.outcome import OperationError, Outcome, Progress
from leeward.operate.worlds import WorldFleet, cluster_in
from leeward.ports.cluster import PODS, ClusterUnavailableError, KubeObject, NotFoundError, RejectedError
from leeward.spec import Spec
from leeward.world.client import World
from leeward.world.model import RegionInfo, RegionState

POLL_S = 0.2
POD_POLL_S = 1.0
CLUSTER_TIMEOUT_S = 2.0
HOME_TIMEOUT_S = 20.0
"""A region that lost its lease during start-up gets its users back in a ramp: wait this long for it at most."""
HOMES = (Policy.LATENCY, Policy.GEOGRAPHIC)
"""Policies that route users to the region they are in."""
RESTARTS_TOO_MANY = 4
"""A pod may fail while its dependencies start; after this many restarts it counts as failing."""
LOG_LINES = 5


async def start(progress: Progress, directory: Path, name: str, timeout_s: float) -> tuple[Spec, World]:
    """Return a world that is ready; on failure, Ctrl-C or SIGKILL nothing of it is left.

    Afterwards it still ends with this process, until ``keep`` is called.
    Raises OperationError, ProblemsError.
    """
    assembly = assemble.assemble(directory, name)
    progress.progress(f"starting world {name}: {', '.join(region.name for region in assembly.config.regions)}")
    world = await assemble.launch_assembly(assembly, progress.progress)
    try:
        await wait_ready(progress, world, assembly.spec, timeout_s)
    except BaseException:
        await asyncio.shield(world.down())
        raise
    return assembly.spec, world


async def wait_ready(progress: Progress, world: World, spec: Spec, timeout_s: float) -> None:
    """Wait until every application is steady, and users are routed to the region they are in.

    Raises OperationError when applications do not become steady; for users it waits HOME_TIMEOUT_S at most.
    """
    info = await world.info()
    urls = {Region(region.name): region.agent_url for region in info.regions}
    reported: Sequence[str] = ()
    missing: Sequence[str] = ("no agent has answered yet",)
    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(HttpFleet(urls, world.operator_directory))
        clusters = {region.name: await stack.enter_async_context(cluster_in(world, region)) for region in info.regions}
        watching = asyncio.create_task(_until_failed(world, clusters))
        try:
            async with asyncio.timeout(timeout_s):
                while missing and not watching.done():
                    missing = await _missing(fleet, spec)
                    if missing and missing[:1] != reported[:1]:
                        progress.progress(f"waiting: {missing[0]}")
                        reported = missing
                    await asyncio.sleep(POLL_S if missing else 0)
        except TimeoutError:
            raise OperationError(_late(timeout_s, missing), outcome=Outcome.TIMED_OUT) from None
        finally:
            watching.cancel()
            await asyncio.wait([watching])
        if missing:
            raise OperationError(watching.result())
        misrouted = await _wait_routed_home(
            progress, await stack.enter_async_context(WorldFleet(world, info).all_agents()), spec
        )
    progress.progress("everything is ready" + (f", but {misrouted[0]}" if misrouted else ""))


async def _missing(fleet: HttpFleet, spec: Spec) -> list[str]:
    try:
        view = await fleet.view()
    except FleetUnavailableError:
        return ["no agent answers yet"]
    lacking: list[str] = []
    regions = tuple(Region(region.name) for region in spec.regions)
    for application in spec.applications:
        app = App(application.metadata.name)
        lacking += unsettled(view, app, regions, spec.timers.lease_s)
        wanted = application.spec.service
        pods = wanted.autoscaling.min if wanted.autoscaling else wanted.replicas
        for region in spec.placement(application):
            heartbeat = view.heartbeats.get(Region(region))
            report = heartbeat.apps.get(app) if heartbeat else None
            if report is not None and 0 < report.pods_ready < pods:
                lacking.append(f"{report.pods_ready} of {pods} pods of {app} are ready in {region}")
    return lacking


async def _wait_routed_home(progress: Progress, agents: Agents, spec: Spec) -> list[str]:
    """Wait until users are routed to the region they are in; return what still prevents that at the timeout."""
    loop = asyncio.get_running_loop()
    give_up_s = loop.time() + HOME_TIMEOUT_S
    reported = ""
    while (misrouted := _misrouted(spec, await agents.statuses())) and loop.time() < give_up_s:
        if misrouted[0] != reported:
            reported = misrouted[0]
            progress.progress(f"waiting: {reported}")
        await asyncio.sleep(POLL_S)
    return misrouted


def _misrouted(spec: Spec, answers: Sequence[Answer]) -> list[str]:
    """Return the regions that each agent leaves out of DNS, and the users it routes to other regions."""
    found: list[str] = []
    placed = {application.metadata.name: spec.placement(application) for application in spec.applications}
    for answer in answers:
        if answer.status != 200:
            found.append(f"the agent of {answer.region} does not answer yet")
            continue
        for app, name in (answer.body["names"] or {}).items():
            found += [f"DNS in {answer.region} leaves out {region}: {why}" for region, why in name["left_out"].items()]
            routed_to = name["leads_to"][answer.region]
            if name["policy"] in HOMES and answer.region in placed[app] and routed_to != [answer.region]:
                found.append(f"users of {app} in {answer.region} are still routed to {', '.join(routed_to)}")
    return found


async def _until_failed(world: World, clusters: dict[str, KubernetesCluster]) -> Problem:
    """Return why the world cannot become ready, once a region has ended or a pod keeps failing."""
    while True:
        for ended in (await world.info()).regions:
            if ended.state is RegionState.LOST:
                return _lost(ended)
        for region, cluster in clusters.items():
            try:
                pods = await cluster.list(PODS, timeout_s=CLUSTER_TIMEOUT_S)
            except (ClusterUnavailableError, RejectedError):
                continue  # it is starting
            for pod in pods.items:
                for status in pod.get("status", {}).get("containerStatuses", []):
                    if status.get("restartCount", 0) >= RESTARTS_TOO_MANY and not status.get("ready"):
                        return await _failing(region, cluster, pod, status)
        await asyncio.sleep(POD_POLL_S)


async def _failing(region: str, cluster: KubernetesCluster, pod: KubeObject, status: KubeObject) -> Problem:
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    text = b""
    try:
        async for piece in cluster.logs(
            name,
            namespace=namespace,
            container=status["name"],
            tail_lines=LOG_LINES,
            timeout_s=CLUSTER_TIMEOUT_S,
        ):
            text += piece
    except (ClusterUnavailableError, NotFoundError, RejectedError) as error:
        text = str(error).encode()
    words = " / ".join(line.strip() for line in text.decode(errors="replace").splitlines() if line.strip())
    return Problem(
        code="pod-failing",
        where=f"region {region}, pod {namespace}/{name}, container {status['name']}",
        what=f"it restarted {status['restartCount']} times and does not become ready",
        why=f"its last log lines: {words or 'none'}",
        fix="fix the errors above in the application's files or its program, then start the world again",
    )


def _lost(region: RegionInfo) -> Problem:
    return Problem(
        code="region-ended",
        where=f"region {region.name}",
        what="it ended while the world was starting",
        why=region.because,
        fix="run leeward doctor to check this machine, then start the world again",
    )


def _late(timeout_s: float, missing: Sequence[str]) -> Problem:
    return Problem(
        code="not-ready",
        where="world",
        what=f"it was not ready within {timeout_s:g} s and was stopped",
        why="; ".join(missing),
        fix="wait longer with --timeout; run leeward doctor to check this machine",
    )
