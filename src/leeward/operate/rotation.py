"""Exchange the authorities of a running world, without a restart of its databases and without a refused connection.

The supervisor distributes what a stage asks for; this waits until every file and every pod's volume has it, and then
begins the next stage. etcd reads the authorities that it trusts only when it starts, so its members are restarted one
after the other, twice. Interrupted, the same command goes on.
"""

import asyncio
import datetime
import signal
from pathlib import Path

from leeward.base.problem import Problem
from leeward.compile.region.quorum import NAME
from leeward.compile.target import SYSTEM_NAMESPACE
from leeward.core.codec import decode
from leeward.core.conditions.values import Status, Type
from leeward.operate.agents import Answer
from leeward.operate.exclusive import alone
from leeward.operate.outcome import OperationError, Outcome, Progress
from leeward.operate.worlds import WorldFleet
from leeward.ports.cluster import PODS, ClusterUnavailableError, NotFoundError, RejectedError
from leeward.world import authorities
from leeward.world.authorities import Stage
from leeward.world.model import RegionInfo, RegionState, WorldConfig, WorldInfo
from leeward.world.renewal import Renewal

CALL_S = 10.0
POLL_S = 0.2
STORE = frozenset({"store_client", "store_peer"})
"""Purposes whose authorities etcd trusts."""
NEEDED = (Type.READY, Type.QUORUM_AVAILABLE, Type.REPLICATING)
"""What must hold before a member is restarted."""


async def rotate(fleet: WorldFleet, purposes: tuple[str, ...], progress: Progress, timeout_s: float) -> list[str]:
    """Exchange the authorities of these purposes, and return all that were exchanged.

    Those of an exchange that was interrupted are ended with it. Raises OperationError, ProblemsError.
    """
    info, directory = fleet.world, fleet.control.directory
    _check(info)
    config = decode(WorldConfig, (directory / "config.json").read_text("utf-8"))
    folder = directory / authorities.DIRECTORY
    rotation = _Rotation(progress, fleet, config, folder)
    try:
        with alone(directory, "no authority was exchanged"):
            async with asyncio.timeout(timeout_s):
                authorities.announce(folder, info.fleet, purposes, datetime.datetime.now(datetime.UTC))
                done = sorted(authorities.stages(authorities.read(folder)))
                await rotation.run()
    except TimeoutError:
        raise OperationError(_late(rotation.because, timeout_s), outcome=Outcome.TIMED_OUT) from None
    return done


class _Rotation:
    def __init__(self, progress: Progress, fleet: WorldFleet, config: WorldConfig, folder: Path) -> None:
        self._progress = progress
        self._fleet = fleet
        self._info = fleet.world
        self._renewal = Renewal(config)
        self._folder = folder
        self.because = ""
        """What is waited for."""

    async def run(self) -> None:
        """Go through the stages."""
        self._progress.progress("announcing the new authorities: both are trusted")
        await self._distributed()
        await self._restart_members()
        self._progress.progress("issuing every certificate from the new authorities")
        authorities.advance(self._folder, Stage.SWITCHED)
        await self._distributed()
        self._progress.progress("removing the old authorities")
        authorities.advance(self._folder, Stage.REMOVED)
        await self._distributed()
        await self._restart_members()
        authorities.finish(self._folder)

    async def _distributed(self) -> None:
        """Wait until every file and volume has what the stage asks for."""
        while (where := await asyncio.to_thread(self._renewal.behind, datetime.datetime.now(datetime.UTC))) is not None:
            self._wait_for(f"waiting: {where} is not up to date")
            await asyncio.sleep(POLL_S)

    async def _restart_members(self) -> None:
        """Restart each running member of the store, as soon as the fleet is well without it."""
        if not STORE & authorities.stages(authorities.read(self._folder)).keys():
            return
        for region in self._info.regions:
            await self._well()
            self._progress.progress(f"restarting the member of the quorum store in {region.name}")
            while (before := await self._restarts(region)) < 0:
                self._wait_for(f"the member of {region.name} is not ready")
                await asyncio.sleep(POLL_S)
            # It hands its leadership over before it ends.
            await self._fleet.control.signal(region.name, NAME, signal.SIGTERM)
            while await self._restarts(region) <= before:
                self._wait_for(f"the member of {region.name} has not restarted")
                await asyncio.sleep(POLL_S)
        await self._well()

    async def _restarts(self, region: RegionInfo) -> int:
        """Return how often a region's member was restarted; -1 while it is not ready."""
        try:
            async with self._fleet.cluster(region.name) as cluster:
                pod = await cluster.get(PODS, f"{NAME}-0", namespace=SYSTEM_NAMESPACE, timeout_s=CALL_S)
        except (ClusterUnavailableError, NotFoundError, RejectedError):
            return -1
        (status,) = pod["status"].get("containerStatuses") or ({"ready": False},)
        return int(status["restartCount"]) if status["ready"] else -1

    async def _well(self) -> None:
        """Wait until each agent sees every running region, and each application serves with all of its standbys."""
        while True:
            async with self._fleet.all_agents() as agents:
                answers = {answer.region: answer for answer in await agents.statuses()}
            ill = [
                region.name
                for region in self._info.regions
                if not _is_well(answers[region.name], len(self._info.regions))
            ]
            if not ill:
                return
            self._wait_for(f"the agents of {', '.join(ill)} do not report every region well")
            await asyncio.sleep(POLL_S)

    def _wait_for(self, because: str) -> None:
        if because != self.because:
            self._progress.progress(because)
        self.because = because


def _is_well(answer: Answer, running: int) -> bool:
    """Whether an agent hears every running region, and sees each application as it should be."""
    if answer.status != 200 or len(answer.body["answered"]) < running:
        return False
    found = {(app, each["type"]): each["status"] for app, every in answer.body["conditions"].items() for each in every}
    return all(status == Status.TRUE for (_, kind), status in found.items() if kind in NEEDED)


def _check(info: WorldInfo) -> None:
    stopped = [region for region in info.regions if region.state is not RegionState.RUNNING]
    if stopped:
        raise OperationError(
            Problem(
                code="region-not-running",
                where=f"region {stopped[0].name}",
                what="no authority was exchanged",
                why=f"it is {stopped[0].state}: {stopped[0].because}; members of the quorum store are restarted one"
                " after the other, which takes all of them",
                fix=f"leeward fault start --region {stopped[0].name}, and repeat the command",
            )
        )


def _late(because: str, timeout_s: float) -> Problem:
    return Problem(
        code="timed-out",
        where="authorities",
        what=f"the exchange did not end within {timeout_s:g} s; certificates stay valid at every stage of it",
        why=because or "it had just begun",
        fix="leeward status --show-conditions shows what is wrong; the same command goes on from there",
    )
