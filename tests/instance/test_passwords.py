"""No password is among the arguments or in the environment of anything that a manager starts, or of itself."""

import os
import stat
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from leeward.core.values import Role
from leeward.instance.settings import BINARIES, find_binaries
from tests.instance.conftest import StartFleet
from tests.instance.instances import PASSWORD, Node
from tests.instance.test_replication import A, B, caught_up, first_pair, pay

pytestmark = pytest.mark.engine

STARTED = {"initdb", "pg_basebackup", "pg_rewind", "pg_controldata"}
"""Programs that end by themselves; PostgreSQL itself is looked at while it runs."""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have every program of PostgreSQL's write down what it is given, in a file each, before it begins."""
    real, told, binaries = find_binaries(), tmp_path / "told", tmp_path / "bin"
    told.mkdir()
    binaries.mkdir()
    for program in real.iterdir():
        (binaries / program.name).symlink_to(program)
    for name in BINARIES:
        (binaries / name).unlink()
        (binaries / name).write_text(
            f'#!/bin/sh\n{{ printf "%s\\n" "$@"; cat /proc/self/environ; }} > "$(mktemp {told}/{name}.XXXXXXXX)"\n'
            f'exec {real / name} "$@"\n'
        )
        (binaries / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("LEEWARD_POSTGRES_BIN", str(binaries))
    return told


def given(node: Node) -> bytes:
    """What a manager and all that runs below it was given."""
    found = b""
    for process in node.tree():
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            found += b"".join(Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
    return found


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


async def test_no_process_is_given_a_password(start_fleet: StartFleet, told: Path) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b)
        running = given(a) + given(b)
        await b.settle(2, Role.DETACHED)
        await pay(a, 2)
    async with b.leased(2):
        await b.settle(2, Role.PRIMARY)
        a.kill()
        await a.start()
        await a.settle(2, Role.STANDBY, b)
        await pay(b, 3)
        await caught_up(a, 3)
        running += given(a) + given(b)
    ended = contents(told)
    assert {name.partition(".")[0] for name in ended} >= STARTED
    assert b"leeward.instance.manager" in running
    assert [name for name, words in ended.items() if os.fsencode(PASSWORD) in words] == []
    assert os.fsencode(PASSWORD) not in running
    for node in (a, b):
        assert not node.settings.layout.copying_password_file.exists()
