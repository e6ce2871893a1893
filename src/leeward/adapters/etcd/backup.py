"""Backups of the quorum store: streamed from a member, checked before they count, kept up to a bound.

A backup is a member's database as etcd's own snapshot has it: a bbolt file and, after it, its SHA-256. ``restore``
makes a member's data directory of one; every member of a fleet is restored from the same file, while none runs. The
new cluster has another identity (its token), so agents and members of the one before are noticed and refused.

Always true: a file under its final name was written whole, and its checksum was right.
Not here: the new generation that a restored store needs before agents reach it (``leeward.adapters.etcd.restoring``).
"""

import asyncio
import base64
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from leeward.adapters.etcd.gateway import Endpoint, Gateway
from leeward.adapters.etcd.wire import Lines
from leeward.ports.quorum import QuorumUnavailableError

SUFFIX = ".db"
SILENCE_S = 10.0
CHECKSUM_BYTES = 32
PAGE_BYTES = 512
"""The size of every bbolt file is a multiple of it."""
ETCDUTL_S = 60.0


class BackupError(Exception):
    """A file is not a complete backup, or cannot be restored; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Backup:
    """One kept backup."""

    path: Path
    made_at_unix_s: float
    revision: int
    """Of the store when it was made: the backup holds this one, or a few more."""
    size_bytes: int


async def save(
    gateway: Gateway,
    endpoint: Endpoint,
    directory: Path,
    *,
    unix_s: float,
    timeout_s: float,
    etcdutl: Path | None = None,
) -> Backup:
    """Make a backup from one member, and check it; with ``etcdutl`` by etcd's own tool, too.

    Raises QuorumUnavailableError, BackupError, OSError. A file appears under its final name only after it was checked.
    """
    status = await gateway.post_to(endpoint, "/v3/maintenance/status", {}, timeout_s=timeout_s)
    revision = int(status["header"]["revision"])
    made_at = datetime.fromtimestamp(unix_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    path = directory / f"{made_at}-{revision}{SUFFIX}"
    partial = path.with_suffix(".partial")
    try:
        async with asyncio.timeout(timeout_s):
            await _stream(gateway, endpoint, partial)
        await asyncio.to_thread(check, partial)
        if etcdutl is not None:
            found = await revision_of(partial, etcdutl=etcdutl)
            if found < revision:
                raise BackupError(f"{path.name} is at revision {found}, but the store was at {revision}")
        await asyncio.to_thread(_publish, partial, path)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise QuorumUnavailableError(f"{endpoint.url}: the backup was interrupted: {error!r}") from error
    finally:
        partial.unlink(missing_ok=True)
    return Backup(path, float(int(unix_s)), revision, path.stat().st_size)


async def _stream(gateway: Gateway, endpoint: Endpoint, path: Path) -> None:
    with path.open("wb") as file:
        async with gateway.stream(endpoint, "/v3/maintenance/snapshot", {}, silence_s=SILENCE_S) as content:
            lines = Lines()
            while chunk := await content.readany():
                lines, whole = lines.feed(chunk)
                for line in whole:
                    message = json.loads(line)
                    if "error" in message:
                        raise QuorumUnavailableError(f"{endpoint.url}: {message['error'].get('message')}")
                    file.write(base64.b64decode(message["result"].get("blob", "")))
        file.flush()
        # This may take long on a slow disk, and the calling process has heartbeats to send.
        await asyncio.to_thread(os.fsync, file.fileno())


def _publish(partial: Path, path: Path) -> None:
    partial.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def check(path: Path) -> None:
    """Raise BackupError unless the file is whole: its last 32 bytes are the SHA-256 of the rest."""
    size = path.stat().st_size
    if size <= CHECKSUM_BYTES or size % PAGE_BYTES != CHECKSUM_BYTES:
        raise BackupError(f"{path} is not a complete etcd backup: it has {size} bytes")
    digest, left = hashlib.sha256(), size - CHECKSUM_BYTES
    with path.open("rb") as file:
        while left:
            chunk = file.read(min(left, 1 << 20))
            digest.update(chunk)
            left -= len(chunk)
        if file.read() != digest.digest():
            raise BackupError(f"{path} is damaged: its checksum is wrong")


async def revision_of(path: Path, *, etcdutl: Path) -> int:
    """Return the revision that ``etcdutl snapshot status`` finds in a backup. Raises BackupError."""
    output = await _etcdutl(etcdutl, path, ("snapshot", "status", str(path), "--write-out=json"), "read")
    try:
        # It may print warnings first.
        return int(json.loads(output.strip().splitlines()[-1])["revision"])
    except (ValueError, KeyError, IndexError) as error:
        raise BackupError(f"unexpected output of etcdutl for {path}: {output[-500:]!r}") from error


def newest_checked(directory: Path) -> tuple[Backup | None, tuple[BackupError, ...]]:
    """Return the newest backup that is still whole, and what is wrong with those that are newer."""
    errors = []
    for backup in reversed(kept(directory)):
        try:
            check(backup.path)
        except BackupError as error:
            errors.append(error)
        else:
            return backup, tuple(errors)
    return None, tuple(errors)


def kept(directory: Path) -> list[Backup]:
    """Return the backups in a directory, oldest first."""
    found = []
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        made_at, _, revision = path.stem.partition("-")
        try:
            at = datetime.strptime(made_at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            found.append(Backup(path, at.timestamp(), int(revision), path.stat().st_size))
        except ValueError:
            continue  # not one of ours
    return found


def prune(directory: Path, keep: int) -> None:
    """Remove the oldest backups until ``keep`` are left, and leftovers of an interrupted backup."""
    for partial in directory.glob("*.partial"):
        partial.unlink(missing_ok=True)
    for backup in kept(directory)[:-keep]:
        backup.path.unlink(missing_ok=True)


async def restore(
    backup: Path, *, etcdutl: Path, name: str, peer_urls: Sequence[tuple[str, str]], token: str, data_dir: Path
) -> None:
    """Make a member's data directory from a backup. Raises BackupError, also when the directory exists."""
    peers = dict(peer_urls)
    command = (
        "snapshot",
        "restore",
        str(backup),
        f"--name={name}",
        f"--initial-cluster={','.join(f'{peer}={url}' for peer, url in peer_urls)}",
        f"--initial-advertise-peer-urls={peers[name]}",
        f"--initial-cluster-token={token}",
        f"--data-dir={data_dir}",
    )
    await _etcdutl(etcdutl, backup, command, "restored")


async def _etcdutl(etcdutl: Path, backup: Path, arguments: Sequence[str], done: str) -> str:
    """Run etcdutl on a backup and return what it prints. Raises BackupError: it failed, or took too long."""
    process = await asyncio.create_subprocess_exec(
        str(etcdutl),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(ETCDUTL_S):
            output, _ = await process.communicate()
    except TimeoutError as error:
        raise BackupError(f"{backup} was not {done} within {ETCDUTL_S:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = output.decode(errors="replace")
    if process.returncode:
        raise BackupError(f"{backup} was not {done}: etcdutl reported: {text.strip()[-500:]}")
    return text
