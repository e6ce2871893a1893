"""Apply changed files to a running world, region by region.

Each region gets its new objects, and its agent is restarted where its settings changed. The next region follows once
that agent sends heartbeats, every primary accepts writes and every standby streams. Objects that are no longer in the
files are deleted last, when the agents have put the new data regions in force. Any step may be repeated: a region
counts as done when its manifests are written.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from leeward.cli import rollout, steer
from leeward.cli.agents import Agents, Answer, newest
from leeward.cli.apply_plan import Plan, identity_of, lines_of, plan
from leeward.cli.console import Console
from leeward.cli.exits import CommandError, ExitCode
from leeward.cli.running import run
from leeward.cli.situation import ApplicationRow, situation
from leeward.cli.worlds_here import choose, cluster_in, region_of, whole_fleet
from leeward.core.codec import decode
from leeward.core.conditions.values import Status, Type
from leeward.ports.cluster import PODS, Cluster, ClusterUnavailableError, NotFoundError, RejectedError
from leeward.spec import Problem, Spec, load
from leeward.world import manifests
from leeward.world.client import World
from leeward.world.model import RegionState, WorldConfig, WorldInfo

CALL_S = 20.0
SWITCHOVER_S = 60.0
POLL_S = 0.2
RETRY_S = 1.0
AGENT_SELECTOR = "app.kubernetes.io/name=leeward,app.kubernetes.io/component=agent"


def apply(console: Console, name: str | None, *, timeout_s: float, dry_run: bool) -> ExitCode:
    """Apply the world's files as they are now. Raises CommandError, ProblemsError."""
    return run(_apply(console, name, timeout_s, dry_run=dry_run), console)


async def _apply(console: Console, name: str | None, timeout_s: float, *, dry_run: bool) -> ExitCode:
    async with choose(name) as world:
        info = await world.info()
        spec = load(Path(info.files[0]))
        plans = plan(spec, decode(WorldConfig, (world.directory / "config.json").read_text("utf-8")))
        if dry_run:
            for line in lines_of(plans):
                console.data(line)
            return ExitCode.DONE
        if any(each.added or each.changed or each.removed for each in plans):
            waiting = ["no agent answers"]
            try:
                async with asyncio.timeout(timeout_s), whole_fleet(world, info) as agents:
                    await _roll(console, world, info, spec, plans, agents, waiting)
            except TimeoutError:
                raise CommandError(_late(timeout_s, waiting[0]), code=ExitCode.TIMED_OUT) from None
            console.data(f"world/{info.name} configured")
        else:
            console.data(f"world/{info.name} unchanged")
    return ExitCode.DONE


async def _roll(
    console: Console,
    world: World,
    info: WorldInfo,
    spec: Spec,
    plans: Sequence[Plan],
    agents: Agents,
    waiting: list[str],
) -> None:
    await _move_out(console, spec, agents)
    primaries = {row.primary for row in situation(await agents.statuses()).applications}
    # Regions with a primary come last: it moves once, to a region that is done.
    for each in sorted(plans, key=lambda found: found.region in primaries):
        if region_of(info, each.region).state is not RegionState.RUNNING:
            console.progress(f"{each.region} is not running; it will start with the new files")
        elif each.added or each.changed:
            if each.restarts_agent:
                await _move_away(console, spec, each.region, agents)
            await _update(console, world, info, each, agents, waiting)
        # Removed objects stay until the agents no longer need them, even if the region restarts.
        manifests.write(each.config, [*each.wanted, *each.removed])
    while missing := _not_in_force(spec, situation(await agents.statuses()).applications):
        if missing != waiting[0]:
            console.progress(f"waiting: {missing}")
            waiting[0] = missing
        await asyncio.sleep(POLL_S)
    for each in plans:
        if each.removed and region_of(info, each.region).state is RegionState.RUNNING:
            await _delete(world, info, each)
        manifests.write(each.config, each.wanted)


async def _move_out(console: Console, spec: Spec, agents: Agents) -> None:
    """Switch over every primary whose region is to be removed. Raises CommandError when that fails.

    This comes first: an instance manager started with the new files does not know that region as an upstream.
    """
    placed = {each.metadata.name: spec.placement(each) for each in spec.applications}
    for row in situation(await agents.statuses()).applications:
        stays = placed.get(row.name, ())
        to = next((each for each in stays if each in row.data_regions), None)
        if stays and row.primary not in (None, *stays) and to is not None:
            console.progress(f"{row.primary} will be removed: switching {row.name} over to {to}")
            await _switch_over(console, agents, row.name, to)


async def _move_away(console: Console, spec: Spec, region: str, agents: Agents) -> None:
    """Switch primaries over before their region restarts: a failover would take longer, and may lose writes."""
    placed = {each.metadata.name: spec.placement(each) for each in spec.applications}
    for row in situation(await agents.statuses()).applications:
        to = next((each for each in row.data_regions if each != region and each in placed.get(row.name, ())), None)
        if row.primary == region and to is not None:
            console.progress(f"{region} will restart: switching {row.name} over to {to}")
            try:
                await _switch_over(console, agents, row.name, to)
            except CommandError as error:
                console.note(f"{row.name} stays in {region} and may fail over while it restarts: {error}")


async def _switch_over(console: Console, agents: Agents, app: str, to: str) -> None:
    """Switch over, and retry while it is refused: a region that has just restarted may need a moment."""
    give_up_s = asyncio.get_running_loop().time() + SWITCHOVER_S
    while all(row.primary != to for row in situation(await agents.statuses()).applications if row.name == app):
        try:
            await steer.switch_over(console, agents, app, to, SWITCHOVER_S)
        except CommandError as error:
            if error.code is not ExitCode.REFUSED or asyncio.get_running_loop().time() >= give_up_s:
                raise
            await asyncio.sleep(RETRY_S)
        else:
            return


async def _update(
    console: Console, world: World, info: WorldInfo, each: Plan, agents: Agents, waiting: list[str]
) -> None:
    before = _incarnation(await agents.statuses(), each.region)
    async with cluster_in(world, region_of(info, each.region)) as cluster:
        try:
            for item in [*each.added, *each.changed]:
                await cluster.apply(item, timeout_s=CALL_S)
            if each.restarts_agent and not each.replaces_agent:
                pods = await cluster.list(PODS, label_selector=AGENT_SELECTOR, timeout_s=CALL_S)
                for pod in pods.items:
                    metadata = pod["metadata"]
                    await cluster.delete(PODS, metadata["name"], namespace=metadata["namespace"], timeout_s=CALL_S)
        except (ClusterUnavailableError, NotFoundError, RejectedError) as error:
            raise CommandError(_refused(each.region, error)) from None
        console.progress(f"{each.region}: {len(each.added)} objects added, {len(each.changed)} changed")
        while (pending := await _pending(cluster, each, agents, before)) is not None:
            if pending != waiting[0]:
                console.progress(f"waiting: {pending}")
                waiting[0] = pending
            await asyncio.sleep(POLL_S)


async def _pending(cluster: Cluster, each: Plan, agents: Agents, before: str | None) -> str | None:
    """Return why the next region must wait; ``before`` is the agent's incarnation when it had the old settings.

    The rollout is checked first: until old pods are replaced, conditions describe them. An added application becomes
    ready only once it is founded, for which the other regions need the new files, too.
    """
    unfinished = await rollout.unfinished(cluster, each.changed, timeout_s=CALL_S)
    if unfinished is not None:
        return f"{each.region}: {unfinished}"
    answers = await agents.statuses()
    if each.restarts_agent and _incarnation(answers, each.region) in (None, before):
        return f"the agent of {each.region} is restarting"
    return next((why for row in situation(answers).applications if (why := _not_ready(row)) is not None), None)


def _incarnation(answers: Sequence[Answer], region: str) -> str | None:
    """Return the incarnation of a region's agent; None while it sends no heartbeats."""
    best = newest(list(answers))
    if best is None or region not in best.body["answered"]:
        return None
    return str(best.body["heartbeats"][region]["incarnation"])


def _not_in_force(spec: Spec, rows: Sequence[ApplicationRow]) -> str | None:
    known = {row.name: row for row in rows}
    for application in spec.applications:
        name = application.metadata.name
        row = known.get(name)
        if row is None:
            return f"{name} has not been founded yet"
        if row.data_regions != spec.placement(application) or row.changing is not None:
            return f"{name}: {row.changing or row.because}"
        if (why := _not_ready(row)) is not None:
            return why
    return None


def _not_ready(row: ApplicationRow) -> str | None:
    """Return why another region must not restart now."""
    for each in row.conditions:
        if each["type"] in (Type.PRIMARY_WRITABLE, Type.REPLICATING) and each["status"] != Status.TRUE:
            return f"{row.name}: {each['message']}"
    return None if row.conditions else f"{row.name}: its conditions are not known yet"


async def _delete(world: World, info: WorldInfo, each: Plan) -> None:
    async with cluster_in(world, region_of(info, each.region)) as cluster:
        for item in reversed(each.removed):
            api_version, kind, namespace, name = identity_of(item)
            try:
                resource = await cluster.resource_of(api_version, kind, timeout_s=CALL_S)
                await cluster.delete(resource, name, namespace=namespace or None, timeout_s=CALL_S)
            except NotFoundError:
                continue
            except (ClusterUnavailableError, RejectedError) as error:
                raise CommandError(_refused(each.region, error)) from None


def _refused(region: str, error: Exception) -> Problem:
    return Problem(
        code="apply-failed",
        where=f"region {region}",
        what="its API server rejected the change",
        why=str(error),
        fix="leeward status shows the region's state; then run leeward apply again",
    )


def _late(timeout_s: float, missing: str) -> Problem:
    return Problem(
        code="timed-out",
        where="world",
        what=f"the new files were not in force within {timeout_s:g} s",
        why=missing,
        fix="run leeward apply again: it continues; or wait longer with --timeout",
    )
