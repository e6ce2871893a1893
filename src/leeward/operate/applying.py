"""Apply changed files to a running world, region by region.

Each region gets its new objects, and its agent is restarted where its settings changed. The next region follows once
that agent sends heartbeats, every primary accepts writes and every standby streams. Objects that are no longer in the
files are deleted last, when the agents have put the new data regions in force. Any step may be repeated: a region
counts as done when its manifests are written.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from leeward.base.problem import Problem
from leeward.core.codec import decode
from leeward.core.conditions.values import Status, Type
from leeward.operate import rollout, steering
from leeward.operate.agents import Agents, Answer, newest
from leeward.operate.apply_plan import Plan, identity_of, plan
from leeward.operate.exclusive import alone
from leeward.operate.outcome import OperationError, Outcome, Progress
from leeward.operate.situation import ApplicationRow, situation
from leeward.operate.worlds import WorldFleet, region_of
from leeward.ports.cluster import PODS, Cluster, ClusterUnavailableError, NotFoundError, RejectedError
from leeward.spec import Spec
from leeward.world import manifests
from leeward.world.model import RegionState, WorldConfig

CALL_S = 20.0
SWITCHOVER_S = 60.0
POLL_S = 0.2
RETRY_S = 1.0
AGENT_SELECTOR = "app.kubernetes.io/name=leeward,app.kubernetes.io/component=agent"


def plans_of(fleet: WorldFleet) -> tuple[Spec, list[Plan]]:
    """Return the world's files as they are now, and what they change in each region. Raises ProblemsError."""
    spec = fleet.spec()
    return spec, plan(spec, decode(WorldConfig, (fleet.control.directory / "config.json").read_text("utf-8")))


async def apply(fleet: WorldFleet, progress: Progress, timeout_s: float) -> bool:
    """Apply the world's files as they are now, and return whether they changed anything.

    Raises OperationError, ProblemsError.
    """
    with alone(fleet.control.directory, "nothing was applied"):
        spec, plans = plans_of(fleet)
        if not any(each.added or each.changed or each.removed for each in plans):
            return False
        waiting = ["no agent answers"]
        try:
            async with asyncio.timeout(timeout_s), fleet.all_agents() as agents:
                await _Rollout(fleet, spec, agents, progress, waiting).run(plans)
        except TimeoutError:
            raise OperationError(_late(timeout_s, waiting[0]), outcome=Outcome.TIMED_OUT) from None
        return True


@dataclass(frozen=True, slots=True)
class _Rollout:
    """The regions one after the other, and the deletions last."""

    fleet: WorldFleet
    spec: Spec
    agents: Agents
    progress: Progress
    waiting: list[str]
    """One entry: what is waited for now."""

    async def run(self, plans: Sequence[Plan]) -> None:
        await self._move_out()
        primaries = {row.primary for row in await self._rows()}
        # Regions with a primary come last: it moves once, to a region that is done.
        for each in sorted(plans, key=lambda found: found.region in primaries):
            if not self._runs(each.region):
                self.progress.progress(f"{each.region} is not running; it will start with the new files")
            elif each.added or each.changed:
                if each.restarts_agent:
                    await self._move_away(each.region)
                await self._update(each)
            # Removed objects stay until the agents no longer need them, even if the region restarts.
            manifests.write(each.config, [*each.wanted, *each.removed])
        while missing := _not_in_force(self.spec, await self._rows()):
            await self._wait(missing)
        for each in plans:
            if each.removed and self._runs(each.region):
                await self._delete(each)
            manifests.write(each.config, each.wanted)

    def _runs(self, region: str) -> bool:
        return region_of(self.fleet.world, region).state is RegionState.RUNNING

    async def _rows(self) -> Sequence[ApplicationRow]:
        return situation(await self.agents.statuses()).applications

    async def _wait(self, missing: str) -> None:
        if missing != self.waiting[0]:
            self.progress.progress(f"waiting: {missing}")
            self.waiting[0] = missing
        await asyncio.sleep(POLL_S)

    async def _move_out(self) -> None:
        """Switch over every primary whose region is to be removed. Raises OperationError when that fails.

        This comes first: an instance manager started with the new files does not know that region as an upstream.
        """
        placed = {each.metadata.name: self.spec.placement(each) for each in self.spec.applications}
        for row in await self._rows():
            stays = placed.get(row.name, ())
            to = next((each for each in stays if each in row.data_regions), None)
            if stays and row.primary not in (None, *stays) and to is not None:
                self.progress.progress(f"{row.primary} will be removed: switching {row.name} over to {to}")
                await self._switch_over(row.name, to)

    async def _move_away(self, region: str) -> None:
        """Switch primaries over before their region restarts: a failover would take longer, and may lose writes."""
        placed = {each.metadata.name: self.spec.placement(each) for each in self.spec.applications}
        for row in await self._rows():
            to = next((each for each in row.data_regions if each != region and each in placed.get(row.name, ())), None)
            if row.primary == region and to is not None:
                self.progress.progress(f"{region} will restart: switching {row.name} over to {to}")
                try:
                    await self._switch_over(row.name, to)
                except OperationError as error:
                    because = f"may fail over while it restarts: {error}"
                    self.progress.note(f"{row.name} stays in {region} and {because}")

    async def _switch_over(self, app: str, to: str) -> None:
        """Switch over, and retry while it is refused: a region that has just restarted may need a moment."""
        give_up_s = asyncio.get_running_loop().time() + SWITCHOVER_S
        while all(row.primary != to for row in await self._rows() if row.name == app):
            try:
                await steering.request(self.agents, steering.switchover(app, to), self.progress, SWITCHOVER_S)
            except OperationError as error:
                if error.outcome is not Outcome.REFUSED or asyncio.get_running_loop().time() >= give_up_s:
                    raise
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _update(self, each: Plan) -> None:
        before = _incarnation(await self.agents.statuses(), each.region)
        async with self.fleet.cluster(each.region) as cluster:
            try:
                for item in [*each.added, *each.changed]:
                    await cluster.apply(item, timeout_s=CALL_S)
                if each.restarts_agent and not each.replaces_agent:
                    pods = await cluster.list(PODS, label_selector=AGENT_SELECTOR, timeout_s=CALL_S)
                    for pod in pods.items:
                        metadata = pod["metadata"]
                        await cluster.delete(PODS, metadata["name"], namespace=metadata["namespace"], timeout_s=CALL_S)
            except (ClusterUnavailableError, NotFoundError, RejectedError) as error:
                raise OperationError(_refused(each.region, error)) from None
            self.progress.progress(f"{each.region}: {len(each.added)} objects added, {len(each.changed)} changed")
            while (pending := await _pending(cluster, each, self.agents, before)) is not None:
                await self._wait(pending)

    async def _delete(self, each: Plan) -> None:
        async with self.fleet.cluster(each.region) as cluster:
            for item in reversed(each.removed):
                api_version, kind, namespace, name = identity_of(item)
                try:
                    resource = await cluster.resource_of(api_version, kind, timeout_s=CALL_S)
                    await cluster.delete(resource, name, namespace=namespace or None, timeout_s=CALL_S)
                except NotFoundError:
                    continue
                except (ClusterUnavailableError, RejectedError) as error:
                    raise OperationError(_refused(each.region, error)) from None


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
