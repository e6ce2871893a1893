"""A volume that fills up: what was acknowledged stays, the manager says so, and goes on once there is room."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from leeward.core.values import Order, Role
from leeward.ports.database import InstanceUnavailableError
from tests.instance.conftest import StartFleet
from tests.instance.instances import CALL_S, Node, lead

pytestmark = [pytest.mark.engine, pytest.mark.root, pytest.mark.timeout(300)]

VOLUME_BYTES = 256 * 2**20
ROW_BYTES = 64 * 1024


@pytest.fixture
def small() -> Iterator[list[Path]]:
    """Small file systems mounted where tests say, until they end."""
    mounted: list[Path] = []
    yield mounted
    for path in mounted:
        subprocess.run(["umount", "--lazy", path], check=True)


def mount(node: Node, mounted: list[Path]) -> Path:
    """Give a node that has not started a volume of its own."""
    volume = node.root / "volume"
    volume.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={VOLUME_BYTES},mode=700", "tmpfs", volume], check=True)
    mounted.append(volume)
    return volume


def fill(volume: Path) -> Path:
    """Leave not one byte free."""
    ballast = volume / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (2**20, 4096, 1):
            try:
                while file.write(os.urandom(size)) == size:
                    pass
            except OSError:
                continue
    return ballast


async def write_until_refused(node: Node) -> int:
    """Write rows until PostgreSQL takes none any more; return how many it acknowledged."""
    written = 0
    try:
        connection = await node.connect()
        async with connection:
            while True:
                await connection.execute(
                    "INSERT INTO rows VALUES (%s, (SELECT pg_catalog.string_agg(pg_catalog.md5(n::text), '') "
                    "FROM pg_catalog.generate_series(1, %s) n))",
                    (written, ROW_BYTES // 32),
                )
                written += 1
    except psycopg.Error:
        return written


async def write_wal_until_it_ends(node: Node) -> None:
    """Have PostgreSQL begin another segment of WAL, for which there is no room: it ends itself."""
    with suppress(psycopg.Error):
        connection = await node.connect()
        async with connection:
            while True:
                await connection.execute(
                    "SELECT pg_catalog.pg_logical_emit_message(false, 'filling', pg_catalog.repeat('x', 1000000))"
                )


async def test_a_primary_whose_volume_is_full_loses_nothing_and_goes_on_when_there_is_room(
    start_fleet: StartFleet, small: list[Path]
) -> None:
    (node,) = await start_fleet("us-east-1", before=lambda node: mount(node, small))
    async with node.leased(1, 240.0):
        await lead(node)
        await node.execute("CREATE TABLE rows (number int PRIMARY KEY, filling text STORAGE EXTERNAL)")
        ballast = fill(node.root / "volume")
        written = await write_until_refused(node)
        # Small commits may go on, in the segment of WAL that is there: what is wrong is said all the same.
        await node.until(lambda status: (status.problem or "").startswith("the volume is full"))
        await write_wal_until_it_ends(node)
        await node.until(lambda status: not status.writable)
        ballast.unlink()
        await node.until(lambda status: status.writable and status.problem is None, timeout_s=120)
        assert await node.column("SELECT count(*) FROM rows") == [written]


async def test_a_full_standby_is_no_successor_until_it_has_room(start_fleet: StartFleet, small: list[Path]) -> None:
    first, second = await start_fleet(
        "us-east-1", "europe-west1", before=lambda node: mount(node, small) if node.region == "europe-west1" else None
    )
    async with first.leased(1, 240.0):
        await lead(first)
        await second.settle(1, Role.STANDBY, first)
        await first.execute("CREATE TABLE rows (number int PRIMARY KEY, filling text STORAGE EXTERNAL)")
        ballast = fill(second.root / "volume")
        await first.execute(
            "INSERT INTO rows SELECT n, pg_catalog.repeat('x', 65536) FROM pg_catalog.generate_series(1, 1000) n"
        )
        await second.until(lambda status: (status.problem or "").startswith("the volume is full"))
        ballast.unlink()
        await second.until(lambda status: status.settled and status.problem is None, timeout_s=120)
        held = await first.column("SELECT (pg_catalog.pg_current_wal_lsn() - '0/0')::bigint")
        await second.until(lambda status: status.wal is not None and status.wal.lsn >= int(str(held[0])))


async def test_orders_that_a_full_volume_cannot_keep_are_refused_and_taken_once_there_is_room(
    start_fleet: StartFleet, small: list[Path]
) -> None:
    (node,) = await start_fleet("us-east-1", before=lambda node: mount(node, small))
    async with node.leased(1, 240.0):
        await lead(node)
        ballast = fill(node.root / "volume")
        basis = await node.basis()
        with pytest.raises(InstanceUnavailableError):
            await node.client.order(Order(2, Role.DETACHED), basis=basis, timeout_s=CALL_S)
        status = await node.client.status(timeout_s=CALL_S)
        assert (status.order is not None and status.order.epoch, status.epoch) == (1, 1)
        ballast.unlink()
        await node.order(2, Role.DETACHED)
        await node.until(lambda status: status.settled and status.role is Role.DETACHED)


async def test_a_full_volume_is_no_reason_against_an_election(start_fleet: StartFleet, small: list[Path]) -> None:
    """A promise is made once: what it says of a volume would hold when there has long been room again."""
    (node,) = await start_fleet("us-east-1", before=lambda node: mount(node, small))
    async with node.leased(1, 240.0):
        await lead(node)
        await node.order(2, Role.DETACHED)
        await node.until(lambda status: status.settled and status.role is Role.DETACHED)
        fill(node.root / "volume")
        # One look that PostgreSQL does not answer in time knows no role.
        status = await node.until(
            lambda status: (
                status.disk is not None
                and status.disk.free_bytes < 2**20
                and status.settled
                and status.role is Role.DETACHED
            )
        )
        assert status.problem is None
