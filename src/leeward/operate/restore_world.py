"""Restore the quorum store of a running world from a backup, end to end.

The new data directories are created first, while everything runs. Then every member is stopped, the directories are
exchanged, and every member is started again. Until the first one is started, any failure or interruption restores the
previous state. After that there is no rollback, and an interruption only ends the wait.
"""

import asyncio
import contextlib
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from leeward.adapters.etcd import backup as backups
from leeward.adapters.etcd.backup import Backup, BackupError
from leeward.adapters.etcd.restoring import mark
from leeward.base.problem import Problem
from leeward.compile.region.agent import BACKUPS_CLAIM
from leeward.compile.region.quorum import DATA_VOLUME, NAME
from leeward.compile.target import QUORUM_PEER_PORT, SYSTEM_NAMESPACE
from leeward.core.conditions.values import Status, Type
from leeward.core.values import Region
from leeward.operate.agents import Agents
from leeward.operate.member_files import Exchange
from leeward.operate.outcome import OperationError, Outcome, Progress
from leeward.operate.situation import ApplicationRow, situation
from leeward.operate.worlds import WorldFleet
from leeward.ports.cluster import (
    PODS,
    STATEFUL_SETS,
    ClusterUnavailableError,
    NotFoundError,
    RejectedError,
)
from leeward.ports.quorum import QuorumUnavailableError
from leeward.world import engines
from leeward.world.kubernetes.volumes import Directories
from leeward.world.model import RegionInfo, RegionState, WorldInfo, address
from leeward.world.ownership import pin
from leeward.world.problems import from_os_error

CALL_S = 10.0
MARKED = ".marked"
"""Beside a directory for each region; region names cannot start with a dot."""
STOP_S = 60.0
POLL_S = 0.2
QUORUM_ADDRESS = 3
"""The last byte of a member's address (docs/concepts/world.md)."""
MEMBER = f"{DATA_VOLUME}-{NAME}-0"


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What to restore, and how."""

    backup: Path | None
    """None: the newest of any region."""
    confirm: str | None
    dry_run: bool
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Restored:
    """A store that was restored, or could be."""

    fleet: str
    source: Path
    dry_run: bool
    applications: Sequence[ApplicationRow] = ()
    """As they are afterwards."""
    epochs_before: Mapping[str, int] = field(default_factory=dict)


async def restore(fleet: WorldFleet, request: RestoreRequest, progress: Progress) -> Restored:
    """Restore, and wait until every application accepts writes under a later epoch.

    Raises OperationError, ProblemsError.
    """
    info = fleet.world
    _check(info, request)
    try:
        source = await asyncio.to_thread(_source, info, request.backup)
        if request.dry_run:
            return Restored(info.fleet, source, dry_run=True)
        async with fleet.all_agents() as agents:
            before = {row.name: row.epoch for row in situation(await agents.statuses()).applications}
            await _Restore(progress, fleet).run(source)
            after = await _wait(progress, agents, before, request.timeout_s)
    except OSError as error:
        raise from_os_error(error, "quorum store") from error
    return Restored(info.fleet, source, dry_run=False, applications=after, epochs_before=before)


class _Restore:
    def __init__(self, progress: Progress, fleet: WorldFleet) -> None:
        info = fleet.world
        self._progress = progress
        self._fleet = fleet
        self._info = info
        self._running = [region for region in info.regions if region.state is not RegionState.LOST]
        self._unix_s = time.time()
        stamp = datetime.fromtimestamp(self._unix_s, UTC).strftime("%Y%m%dT%H%M%SZ")
        self._work = fleet.control.directory / f"restore-{stamp}"
        self._exchange = Exchange([(_data_dir(region), self._work / region.name) for region in info.regions], stamp)

    async def run(self, source: Path) -> None:
        """Start every member on the restored data. Raises OperationError, with the previous state restored."""
        try:
            await self._prepare(source)
            await self._exchange_all()
            # No await in between: from here on, members run even after an interruption.
            await self._start(asyncio.create_task(self._scale(1), name="start the members"))
        finally:
            await asyncio.to_thread(shutil.rmtree, self._work, ignore_errors=True)
        await asyncio.to_thread(self._exchange.remove_older)

    async def _start(self, starting: "asyncio.Task[None]") -> None:
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The data was exchanged: never leave only some of the members started.
            with contextlib.suppress(OperationError):
                await starting
            self._progress.note("the store is restored and its members are running; see leeward status")
            raise

    async def _prepare(self, source: Path) -> None:
        self._progress.progress(f"creating data directories from {source}; nothing running is touched")
        etcd, etcdutl = engines.etcd_programs()
        regions = [region.name for region in self._info.regions]
        peer_urls = [(region.name, _peer_url(region)) for region in self._info.regions]
        try:
            marked = await mark(
                source,
                self._work / MARKED,
                fleet=self._info.fleet,
                region=Region(regions[0]),
                unix_s=self._unix_s,
                etcd=etcd,
                etcdutl=etcdutl,
            )
            for region in regions:
                await backups.restore(
                    marked.path,
                    etcdutl=etcdutl,
                    name=region,
                    peer_urls=peer_urls,
                    token=f"{self._info.fleet}-{int(self._unix_s)}",
                    data_dir=self._work / region,
                )
        except (BackupError, QuorumUnavailableError) as error:
            raise OperationError(not_restored(source, str(error))) from error

    async def _exchange_all(self) -> None:
        """Stop every member and exchange the directories, or restore the previous state."""
        try:
            self._progress.progress("stopping every member: primaries stop at the end of their lease")
            await self._scale(0)
            async with asyncio.timeout(STOP_S):
                await asyncio.gather(*(self._stopped(region) for region in self._running))
            self._progress.progress("exchanging the data directories, and starting every member")
            self._exchange.do()
        except TimeoutError as error:
            await self._roll_back()
            raise OperationError(_not_stopped(STOP_S)) from error
        except BaseException:
            await self._roll_back()
            raise

    async def _roll_back(self) -> None:
        self._progress.note("rolling back: restoring the members' data and starting them")
        self._exchange.undo()
        await self._scale(1)

    async def _scale(self, replicas: int) -> None:
        """Scale the member of every running region. Raises OperationError."""
        scaled = [self._scale_one(region, replicas) for region in self._running]
        for outcome in await asyncio.gather(*scaled, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _scale_one(self, region: RegionInfo, replicas: int) -> None:
        try:
            async with self._fleet.cluster(region.name) as cluster:
                patch = {"spec": {"replicas": replicas}}
                await cluster.patch(STATEFUL_SETS, NAME, patch, namespace=SYSTEM_NAMESPACE, timeout_s=CALL_S)
        except (ClusterUnavailableError, NotFoundError, RejectedError) as error:
            raise OperationError(_unreachable(region, error)) from error

    async def _stopped(self, region: RegionInfo) -> None:
        async with self._fleet.cluster(region.name) as cluster:
            while True:
                try:
                    await cluster.get(PODS, f"{NAME}-0", namespace=SYSTEM_NAMESPACE, timeout_s=CALL_S)
                except NotFoundError:
                    return
                except (ClusterUnavailableError, RejectedError) as error:
                    raise OperationError(_unreachable(region, error)) from error
                await asyncio.sleep(POLL_S)


async def _wait(
    progress: Progress, agents: Agents, before: Mapping[str, int], timeout_s: float
) -> Sequence[ApplicationRow]:
    """Return every application once it accepts writes under a later epoch. Raises OperationError when time is up."""
    progress.progress("waiting until every application accepts writes under a later epoch")
    because = "no agent answers"
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                view = situation(await agents.statuses())
                waiting = [row for row in view.applications if not _recovered(row, before.get(row.name, 0))]
                if view.applications and before.keys() <= {row.name for row in view.applications} and not waiting:
                    return view.applications
                reasons = "; ".join(f"{row.name}: {row.phase}: {row.because}" for row in waiting) or "no agent answers"
                if reasons != because:
                    progress.progress(reasons)
                because = reasons
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise OperationError(_late(because, timeout_s), outcome=Outcome.TIMED_OUT) from None


def _recovered(row: ApplicationRow, epoch_before: int) -> bool:
    ready = any(each["type"] == Type.READY and each["status"] == Status.TRUE for each in row.conditions)
    return ready and row.phase == "steady" and row.epoch > epoch_before


def _check(info: WorldInfo, request: RestoreRequest) -> None:
    frozen = [region.name for region in info.regions if region.state is RegionState.FROZEN]
    if frozen:
        raise OperationError(
            Problem(
                code="region-frozen",
                where=f"region {frozen[0]}",
                what="the store was not restored",
                why=f"{' and '.join(frozen)} is frozen: its member cannot be stopped",
                fix=f"leeward fault thaw --region {frozen[0]}, or kill it",
            )
        )
    if not request.dry_run and request.confirm != info.fleet:
        raise OperationError(
            Problem(
                code="not-confirmed",
                where="command line",
                what=f"restoring the store of {info.fleet} stops every primary for some seconds and was not confirmed",
                why="no --confirm was given" if request.confirm is None else f"--confirm is {request.confirm!r}",
                fix=f"check with --dry-run first, then add --confirm {info.fleet}",
            ),
            outcome=Outcome.REFUSED,
        )


def _source(info: WorldInfo, backup: Path | None) -> Path:
    """Return a complete backup: the given one, or the newest of any region. Raises OperationError."""
    if backup is not None:
        try:
            backups.check(backup)
        except (BackupError, OSError) as error:
            raise OperationError(not_restored(backup, str(error))) from error
        return backup
    newest: list[Backup] = []
    for region in info.regions:
        found, _ = backups.newest_checked(_claim(region, BACKUPS_CLAIM))
        newest += [found] if found is not None else []
    if not newest:
        raise OperationError(
            Problem(
                code="no-backup",
                where=f"world {info.name}",
                what="no region has a complete backup of the store",
                why="agents make the first one some seconds after they start",
                fix="leeward status --show-conditions: StoreBackedUp shows why; or give a file",
            )
        )
    return max(newest, key=lambda each: (each.made_at_unix_s, each.revision)).path


def _claim(region: RegionInfo, claim: str) -> Path:
    return Directories(Path(region.directory)).claim(SYSTEM_NAMESPACE, claim)


def _data_dir(region: RegionInfo) -> Path:
    """Return a member's data directory. Pods can write to its volume: symlinks there must not be followed.

    A lost region's volumes may be gone: the member's is created again.
    """
    directory = Path(region.directory)
    logs = Directories(directory).logs.name
    try:
        return pin(directory, _claim(region, MEMBER).relative_to(directory), like=logs) / "member"
    except OSError as error:
        raise from_os_error(error, f"region {region.name}") from error


def _peer_url(region: RegionInfo) -> str:
    return f"https://{address(region.index, QUORUM_ADDRESS)}:{QUORUM_PEER_PORT}"


def not_restored(backup: Path, why: str) -> Problem:
    """Return the problem of a backup that cannot be used."""
    return Problem(
        code="backup-not-restored",
        where=str(backup),
        what="the backup was not restored; no running store was touched",
        why=why,
        fix="try an older backup; `etcdutl snapshot status FILE` describes one",
    )


def _unreachable(region: RegionInfo, error: Exception) -> Problem:
    return Problem(
        code="region-unreachable",
        where=f"region {region.name}",
        what="its store member could not be stopped or started",
        why=f"the request to its API server failed: {error}",
        fix=f"leeward fault kill --region {region.name}, then start it, or repeat the command when it answers",
    )


def _not_stopped(within_s: float) -> Problem:
    return Problem(
        code="member-not-stopped",
        where="quorum store",
        what="the store was not restored; its members run as before",
        why=f"a member had not stopped after {within_s:g} s",
        fix="leeward get pods shows which; kill its region, and repeat the command",
    )


def _late(because: str, timeout_s: float) -> Problem:
    return Problem(
        code="timed-out",
        where="quorum store",
        what=f"the store is restored, but not every application accepted writes within {timeout_s:g} s",
        why=because,
        fix="watch it with leeward status --watch, or wait longer with --timeout",
    )
