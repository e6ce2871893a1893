"""Restore the quorum store: a running world's as a whole, or data directories to install by hand."""

import time
from pathlib import Path

from leeward.adapters.etcd import backup as backups
from leeward.adapters.etcd.backup import BackupError
from leeward.adapters.etcd.restoring import mark
from leeward.base.problem import Problem
from leeward.cli.console import Console
from leeward.cli.exits import CommandError, ExitCode
from leeward.cli.render import table
from leeward.cli.restore_world import MARKED, RestoreRequest, not_restored, restore
from leeward.cli.running import run
from leeward.core.values import Region
from leeward.ports.quorum import QuorumUnavailableError
from leeward.world import engines
from leeward.world.problems import from_os_error

LEFTOVER = "repeat the same command: it stops every member, replaces its data and starts it again"


def world(console: Console, name: str | None, request: RestoreRequest) -> ExitCode:
    """Restore the store of a running world."""
    try:
        return run(restore(console, name, request), console, leftover=LEFTOVER)
    except OSError as error:
        raise from_os_error(error, "quorum store") from error


def store(console: Console, backup: Path, fleet: str, members: str, out: Path, region: str | None) -> None:
    """Write OUT/REGION for every member, and list them."""
    peer_urls = _peer_urls(members)
    try:
        made = run(_restore(backup, fleet, peer_urls, out, region or peer_urls[0][0]), console)
    except OSError as error:
        raise from_os_error(error, str(out)) from error
    except (BackupError, QuorumUnavailableError) as error:
        raise CommandError(not_restored(backup, str(error))) from error
    console.data(table(("REGION", "DATA DIRECTORY"), [(name, str(path)) for name, path in made]))
    console.note("stop every member, replace each member's data directory with its new one, and start them all")


async def _restore(
    backup: Path, fleet: str, peer_urls: list[tuple[str, str]], out: Path, region: str
) -> list[tuple[str, Path]]:
    etcd, etcdutl = engines.etcd_programs()
    unix_s = time.time()
    marked = await mark(
        backup, out / MARKED, fleet=fleet, region=Region(region), unix_s=unix_s, etcd=etcd, etcdutl=etcdutl
    )
    made = []
    for name, _ in peer_urls:
        data_dir = out / name
        await backups.restore(
            marked.path,
            etcdutl=etcdutl,
            name=name,
            peer_urls=peer_urls,
            token=f"{fleet}-{int(unix_s)}",
            data_dir=data_dir,
        )
        made.append((name, data_dir))
    return made


def _peer_urls(members: str) -> list[tuple[str, str]]:
    pairs = [(name, url) for name, _, url in (member.partition("=") for member in members.split(","))]
    if all(name and "://" in url for name, url in pairs) and len(dict(pairs)) == len(pairs):
        return pairs
    raise CommandError(
        Problem(
            code="bad-members",
            where="--initial-cluster",
            what=f"{members!r} does not name every member once, as REGION=URL",
            why="each member's data directory names all of them",
            fix="copy the value of --initial-cluster from an etcd StatefulSet of the fleet",
        )
    )
