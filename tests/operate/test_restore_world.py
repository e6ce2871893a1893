"""A backup becomes a data directory per region, and members that start on them form a store of a new generation."""

import asyncio
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from leeward.adapters.etcd import backup as backups
from leeward.compile.target import SYSTEM_NAMESPACE
from leeward.core import keys
from leeward.operate import restore_world
from leeward.ports.quorum import Put
from leeward.world.model import RegionInfo, RegionState
from tests.adapters.etcd.cluster import cluster
from tests.cli.conftest import Run, leeward

__all__ = ["leeward"]

NAMES = ("ap", "eu", "us")
CALL_S = 30.0


@pytest.mark.engine
async def test_a_restored_store_has_what_the_backup_had_and_a_new_generation(leeward: Run, tmp_path: Path) -> None:
    async with cluster(tmp_path, NAMES) as members:
        async with members.connect(NAMES[0]) as quorum, members.gateway(NAMES[0]) as gateway:
            await quorum.transact((), (Put("/leeward/atlas/before", "x"),), timeout_s=CALL_S)
            kept = await backups.save(
                gateway, members.endpoint(NAMES[0]), tmp_path / "backups", unix_s=1.7e9, timeout_s=CALL_S
            )
            await quorum.transact((), (Put("/leeward/atlas/after", "x"),), timeout_s=CALL_S)
        for name in NAMES:
            await members.lose_data(name)
        urls = ",".join(f"{name}={members.peer_url(name)}" for name in NAMES)
        out = tmp_path / "restored"
        arguments = ("restore-store", str(kept.path), "--fleet", "atlas", "--initial-cluster", urls, "--out", str(out))
        result = await asyncio.to_thread(leeward, *arguments)
        assert result.returncode == 0, result.stderr
        for name in NAMES:
            shutil.move(out / name, members.data_dir(name))
            await members.start(name)
        await members.ready(NAMES[1])
        async with members.connect(NAMES[1]) as quorum:
            found = (await quorum.snapshot("/leeward/atlas/", timeout_s=CALL_S)).entries
        assert "/leeward/atlas/before" in found
        assert "/leeward/atlas/after" not in found
        assert keys.generation("atlas") in found


@pytest.mark.engine
def test_a_damaged_backup_is_refused_and_nothing_is_written(leeward: Run, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(bytes(512 + 32))
    out = tmp_path / "restored"
    members = "us=https://127.0.0.1:1,eu=https://127.0.0.2:1"
    result = leeward("restore-store", str(damaged), "--fleet", "atlas", "--initial-cluster", members, "--out", str(out))
    assert result.returncode == 2
    assert "checksum" in result.stderr
    assert not out.exists()


def test_members_that_are_not_named_once_each_are_refused(leeward: Run, tmp_path: Path) -> None:
    for members in ("us", "us=https://a:1,us=https://b:1"):
        result = leeward(
            "restore-store", "x.db", "--fleet", "atlas", "--initial-cluster", members, "--out", str(tmp_path)
        )
        assert result.returncode == 2
        assert "--initial-cluster" in result.stderr


def test_what_is_to_be_restored_must_be_clear(leeward: Run, tmp_path: Path) -> None:
    for arguments in ((), ("x.db", "--latest"), ("--latest", "--out", str(tmp_path)), ("x.db", "--fleet", "atlas")):
        result = leeward("restore-store", *arguments)
        assert result.returncode == 2
        assert "BACKUP" in result.stderr


def test_a_region_that_lost_its_volumes_gets_a_place_for_its_member(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    region = RegionInfo(
        name="us",
        index=1,
        state=RegionState.LOST,
        because="killed by request",
        pid=None,
        directory=str(tmp_path),
        gateway_url="",
        agent_url="",
        api_url="",
        dns_host="",
        dns_port=0,
        services_url="",
        namespaces=(),
    )
    place = restore_world._data_dir(region)
    place.mkdir()
    assert [path.name for path in (tmp_path / "volumes" / SYSTEM_NAMESPACE / restore_world.MEMBER).iterdir()] == [
        "member"
    ]


def test_an_interruption_once_the_directories_are_exchanged_starts_the_members(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []

    class Recorder:
        def __getattr__(self, name: str) -> Any:
            return lambda *_: calls.append(name)

    restore = restore_world._Restore.__new__(restore_world._Restore)
    double: Any = restore
    double._progress, double._running, double._exchange, double._work = Recorder(), [], Recorder(), Path("/nowhere")
    removing, cancelled = asyncio.Event(), threading.Event()

    async def scale(replicas: int) -> None:
        calls.append(f"scale {replicas}")

    async def prepare(source: Path) -> None:
        del source

    double._scale, double._prepare = scale, prepare

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def rmtree(*_: object, **__: object) -> None:
            loop.call_soon_threadsafe(removing.set)
            cancelled.wait(CALL_S)

        monkeypatch.setattr(shutil, "rmtree", rmtree)
        running = asyncio.create_task(restore.run(Path("/backup")))
        await removing.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        cancelled.set()

    asyncio.run(main())
    assert "do" in calls
    assert "undo" in calls or "scale 1" in calls, f"exchanged, stopped, and left so: {calls}"
