"""Give a backup a new generation before any agent sees what is restored from it.

etcd's tools cannot write a key into a backup, and a restored store that agents reach before it has a new generation
looks to them like an older state of the same store. So the backup is restored into a separate member on loopback,
which no agent knows; the generation and a record of the restore are written there; and that member's data is the
backup that every region is restored from.
"""

import asyncio
import contextlib
import errno
import itertools
import random
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from leeward.adapters.etcd import backup as backups
from leeward.adapters.etcd.backup import Backup
from leeward.adapters.etcd.gateway import Endpoint, Gateway
from leeward.adapters.etcd.wire import any_key, transaction
from leeward.core import keys
from leeward.core.codec import encode
from leeward.core.values import Generation, Record, Region
from leeward.ports.quorum import Put, QuorumUnavailableError

NAME = "restoring"
READY_S = 60.0
POLL_S = 0.1
CALL_S = 10.0
PORTS = range(20_000, 32_000)
"""For the member. Outside the kernel's ephemeral range, so no program gets one by chance before the member starts."""


async def mark(
    source: Path, directory: Path, *, fleet: str, region: Region, unix_s: float, etcd: Path, etcdutl: Path
) -> Backup:
    """Return a copy of the backup, in ``directory``, that begins a new generation of the fleet's store.

    ``region``: who restores, for the record. Raises BackupError, QuorumUnavailableError, OSError.
    """
    await asyncio.to_thread(backups.check, source)
    because = f"the quorum store was restored from {source.name}; every application elects its primary again"
    generation = Generation(f"restored-{int(unix_s * 1000)}", because, unix_s)
    record = Record(unix_s, region, None, 0, "StoreRestored", because)
    puts = (
        Put(keys.generation(fleet), encode(generation)),
        Put(keys.decision(fleet, unix_s, region, record.kind, 0), encode(record)),
    )
    async with _scratch_member(source, etcd, etcdutl) as (gateway, endpoint):
        await gateway.post_to(endpoint, "/v3/kv/txn", transaction((), puts), timeout_s=CALL_S)
        return await backups.save(gateway, endpoint, directory, unix_s=unix_s, timeout_s=READY_S)


@contextlib.asynccontextmanager
async def _scratch_member(source: Path, etcd: Path, etcdutl: Path) -> AsyncIterator[tuple[Gateway, Endpoint]]:
    """Run one member on loopback that holds what the backup holds."""
    client, peer = (f"http://127.0.0.1:{port}" for port in _free_ports(2))
    with tempfile.TemporaryDirectory(prefix="leeward-restore-") as scratch:
        data = Path(scratch) / "data"
        await backups.restore(source, etcdutl=etcdutl, name=NAME, peer_urls=[(NAME, peer)], token=NAME, data_dir=data)
        process = await asyncio.create_subprocess_exec(
            str(etcd),
            f"--name={NAME}",
            f"--data-dir={data}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={NAME}={peer}",
            f"--initial-cluster-token={NAME}",
            "--log-level=error",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        endpoint = Endpoint(client)
        try:
            async with aiohttp.ClientSession() as session:
                gateway = Gateway(session, [endpoint])
                await _ready(gateway, endpoint)
                yield gateway, endpoint
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _ready(gateway: Gateway, endpoint: Endpoint) -> None:
    because = "no attempt was made"
    try:
        async with asyncio.timeout(READY_S):
            while True:
                try:
                    await gateway.post_to(endpoint, "/v3/kv/range", any_key(""), timeout_s=CALL_S)
                except QuorumUnavailableError as error:
                    because = str(error)
                    await asyncio.sleep(POLL_S)
                else:
                    return
    except TimeoutError as error:
        raise QuorumUnavailableError(f"the backup's own member is not ready: {because}") from error


def _free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago. Raises OSError."""
    first = random.randrange(len(PORTS))
    tried = itertools.chain(PORTS[first:], PORTS[:first])
    found = list(itertools.islice(filter(_is_free, tried), count))
    if len(found) < count:
        raise OSError(errno.EADDRINUSE, f"no free port on 127.0.0.1 from {PORTS.start} to {PORTS.stop - 1}")
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
