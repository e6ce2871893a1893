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
from leeward.cli.agents import Answer
from leeward.cli.console import Console
from leeward.cli.exits import CommandError, ExitCode
from leeward.cli.worlds_here import choose, cluster_in, whole_fleet
from leeward.compile.region.quorum import NAME
from leeward.compile.target import SYSTEM_NAMESPACE
from leeward.core.codec import decode
from leeward.core.conditions.values import Status, Type
from leeward.ports.cluster import PODS, ClusterUnavailableError, NotFoundError, RejectedError
from leeward.world import authorities
from leeward.world.authorities import Stage
from leeward.world.client import World
from leeward.world.model import RegionInfo, RegionState, WorldConfig, WorldInfo
from leeward.world.renewal import Renewal

CALL_S = 10.0
POLL_S = 0.2
STORE = frozenset({"store_client", "store_peer"})
"""Purposes whose authorities etcd trusts."""
NEEDED = (Type.READY, Type.QUORUM_AVAILABLE, Type.REPLICATING)
"""What must hold before a member is restarted."""


async def rotate(console: Console, name: str | None, purposes: tuple[str, ...], timeout_s: float) -> ExitCode:
    """Exchange the authorities of these purposes, and end an exchange that was interrupted."""
    async with choose(name) as world:
        info = await world.info()
        _check(info)
        config = decode(WorldConfig, (world.directory / "config.json").read_text("utf-8"))
        folder = world.directory / authorities.DIRECTORY
        rotation = _Rotation(console, world, info, config, folder)
        try:
            async with asyncio.timeout(timeout_s):
                authorities.announce(folder, info.fleet, purposes, datetime.datetime.now(datetime.UTC))
                # Those of an exchange that was interrupted are ended with it.
                done = sorted(authorities.stages(authorities.read(folder)))
                await rotation.run()
        except TimeoutError:
            raise CommandError(_late(rotation.because, timeout_s), code=ExitCode.TIMED_OUT) from None
    console.data(f"authorities/{info.name} exchanged: {', '.join(done)}")
    return ExitCode.DONE


class _Rotation:
    def __init__(self, console: Console, world: World, info: WorldInfo, config: WorldConfig, folder: Path) -> None:
        self._console = console
        self._world = world
        self._info = info
        self._renewal = Renewal(config)
        self._folder = folder
        self.because = ""
        """What is waited for."""

    async def run(self) -> None:
        """Go through the stages."""
        self._console.progress("announcing the new authorities: both are trusted")
        await self._distributed()
        await self._restart_members()
        self._console.progress("issuing every certificate from the new authorities")
        authorities.advance(self._folder, Stage.SWITCHED)
        await self._distributed()
        self._console.progress("removing the old authorities")
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
            self._console.progress(f"restarting the member of the quorum store in {region.name}")
            before = await self._restarts(region)
            # It hands its leadership over before it ends.
            await self._world.signal(region.name, NAME, signal.SIGTERM)
            while await self._restarts(region) <= before:
                self._wait_for(f"the member of {region.name} has not restarted")
                await asyncio.sleep(POLL_S)
        await self._well()

    async def _restarts(self, region: RegionInfo) -> int:
        """Return how often a region's member was restarted; -1 while it is not ready."""
        try:
            async with cluster_in(self._world, region) as cluster:
                pod = await cluster.get(PODS, f"{NAME}-0", namespace=SYSTEM_NAMESPACE, timeout_s=CALL_S)
        except (ClusterUnavailableError, NotFoundError, RejectedError):
            return -1
        (status,) = pod["status"].get("containerStatuses") or ({"ready": False},)
        return int(status["restartCount"]) if status["ready"] else -1

    async def _well(self) -> None:
        """Wait until each agent sees every running region, and each application serves with all of its standbys."""
        while True:
            async with whole_fleet(self._world, self._info) as agents:
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
            self._console.progress(because)
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
        raise CommandError(
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
