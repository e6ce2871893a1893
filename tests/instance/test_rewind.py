"""When a rewind that failed or was interrupted has changed the data, and when it has not."""

import asyncio
from pathlib import Path

import pytest

from leeward.core.values import App, Region
from leeward.instance.postgres.data import DataDirectory
from leeward.instance.postgres.server import CommandError, run
from leeward.instance.settings import Endpoint, Layout, ManagerSettings
from tests.kit.waiting import until

EU = Region("eu")
COMPARES = 'echo "pg_rewind: connected to server" >&2'
BEGINS = 'echo "pg_rewind: need to copy 3 MB (total source directory size is 42 MB)" >&2'
HANGS = 'touch "$(dirname "$0")/hangs"; exec sleep 60'


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    settings = ManagerSettings(
        region=Region("us"),
        app=App("payments"),
        listen=Endpoint("127.0.0.1", 1),
        postgres=Endpoint("127.0.0.1", 2),
        layout=Layout(tmp_path),
        identity_dir=tmp_path,
        upstreams={EU: Endpoint("127.0.0.1", 3)},
        database="payments",
        owner="payments",
        password_file=tmp_path / "password",
        replication_password_file=tmp_path / "password",
        binaries=tmp_path,
        wal_retention=0.5,
    )
    settings.layout.data.mkdir()
    settings.layout.configuration.mkdir()
    return DataDirectory(settings, isolated=False, owner="", replication="")


def pg_rewind(tmp_path: Path, *lines: str) -> None:
    program = tmp_path / "pg_rewind"
    program.write_text("\n".join(("#!/bin/sh", *lines, "")))
    program.chmod(0o700)


@pytest.mark.parametrize(
    ("lines", "unchanged"),
    [
        pytest.param(["exit 1"], True, id="the source is out of reach"),
        pytest.param([COMPARES, "exit 1"], True, id="the source is lost while histories are compared"),
        pytest.param([COMPARES, BEGINS, "exit 1"], False, id="the source is lost while files are copied"),
        pytest.param([COMPARES, "exit 0"], False, id="it does not say when it begins"),
    ],
)
async def test_a_rewind_that_fails(data: DataDirectory, tmp_path: Path, lines: list[str], unchanged: bool) -> None:
    pg_rewind(tmp_path, *lines)
    with pytest.raises(CommandError):
        await data.rewind_to(EU)
    assert (data.rewind_unchanged, data.rewind_interrupted) == (unchanged, not unchanged)


@pytest.mark.parametrize(("lines", "unchanged"), [([COMPARES], True), ([COMPARES, BEGINS], False)])
async def test_a_rewind_that_another_order_interrupts(
    data: DataDirectory, tmp_path: Path, lines: list[str], unchanged: bool
) -> None:
    pg_rewind(tmp_path, *lines, HANGS)
    rewinding = asyncio.create_task(data.rewind_to(EU))
    await until(lambda: (tmp_path / "hangs").exists())
    assert data.rewind_interrupted, "if the manager dies now, no one knows how far it got"
    rewinding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rewinding
    assert (data.rewind_unchanged, data.rewind_interrupted) == (unchanged, not unchanged)


async def test_a_rewind_that_ends_says_what_it_copied(data: DataDirectory, tmp_path: Path) -> None:
    pg_rewind(tmp_path, COMPARES, BEGINS, 'printf "3072/3072 kB (100%%) copied" >&2')
    assert await data.rewind_to(EU) == 3072 * 1024
    assert (data.rewind_unchanged, data.rewind_interrupted, data.in_recovery) == (False, False, True)


async def test_what_a_program_left_running_is_awaited_when_it_is_killed(tmp_path: Path) -> None:
    """In a pid namespace of its own pg_rewind ends after the process that is killed, and may still write."""
    command = ("/bin/sh", "-c", "(sleep 1; echo need to copy >&2) & sleep 60")
    with (tmp_path / "said").open("w+b") as said:
        with pytest.raises(TimeoutError):
            await run(command, isolated=False, tied=False, timeout_s=0.1, errors_to=said)
        said.seek(0)
        assert said.read() == b"need to copy\n"
