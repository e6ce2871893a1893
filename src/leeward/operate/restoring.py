"""Data directories for the members of a quorum store, from a backup: to install by hand."""

import time
from dataclasses import dataclass
from pathlib import Path

from leeward.adapters.etcd import backup as backups
from leeward.adapters.etcd.backup import BackupError
from leeward.adapters.etcd.restoring import mark
from leeward.base.problem import Problem
from leeward.core.values import Region
from leeward.operate.outcome import OperationError
from leeward.operate.restore_world import MARKED, not_restored
from leeward.ports.quorum import QuorumUnavailableError
from leeward.world import engines
from leeward.world.problems import from_os_error


@dataclass(frozen=True, slots=True)
class Members:
    """What data directories are made from, and for whom."""

    backup: Path
    fleet: str
    peer_urls: list[tuple[str, str]]
    """Region and peer URL of each member."""
    out: Path
    region: str | None
    """The restoring region, for the decision log; None: the first."""


async def data_directories(members: Members) -> list[tuple[str, Path]]:
    """Write OUT/REGION for every member, and return them. Raises OperationError, ProblemsError."""
    try:
        return await _restore(members)
    except OSError as error:
        raise from_os_error(error, str(members.out)) from error
    except (BackupError, QuorumUnavailableError) as error:
        raise OperationError(not_restored(members.backup, str(error))) from error


async def _restore(members: Members) -> list[tuple[str, Path]]:
    etcd, etcdutl = engines.etcd_programs()
    unix_s = time.time()
    marked = await mark(
        members.backup,
        members.out / MARKED,
        fleet=members.fleet,
        region=Region(members.region or members.peer_urls[0][0]),
        unix_s=unix_s,
        etcd=etcd,
        etcdutl=etcdutl,
    )
    made = []
    for name, _ in members.peer_urls:
        data_dir = members.out / name
        await backups.restore(
            marked.path,
            etcdutl=etcdutl,
            name=name,
            peer_urls=members.peer_urls,
            token=f"{members.fleet}-{int(unix_s)}",
            data_dir=data_dir,
        )
        made.append((name, data_dir))
    return made


def peer_urls(members: str) -> list[tuple[str, str]]:
    """Return what ``--initial-cluster`` of etcd says. Raises OperationError."""
    pairs = [(name, url) for name, _, url in (member.partition("=") for member in members.split(","))]
    if all(name and "://" in url for name, url in pairs) and len(dict(pairs)) == len(pairs):
        return pairs
    raise OperationError(
        Problem(
            code="bad-members",
            where="--initial-cluster",
            what=f"{members!r} does not name every member once, as REGION=URL",
            why="each member's data directory names all of them",
            fix="copy the value of --initial-cluster from an etcd StatefulSet of the fleet",
        )
    )
