"""One instance manager and its PostgreSQL: orders, leases, the guard, crashes."""

import pytest

from leeward.core.values import Role
from leeward.instance.postgres import connection
from tests.instance.conftest import StartFleet
from tests.instance.instances import lead

pytestmark = pytest.mark.engine


async def test_first_primary_creates_the_database_and_records_its_epoch(start_fleet: StartFleet) -> None:
    (node,) = await start_fleet("eu-west")
    async with node.leased(1):
        await lead(node)
        # What it says of its WAL may be from a look just before the record of the epoch was committed.
        status = await node.until(lambda status: status.settled and status.wal is not None and status.wal.epoch == 1)
        await node.execute("CREATE TABLE payment (id int PRIMARY KEY)")
        await node.execute("INSERT INTO payment VALUES (1)")
        assert await node.column("SELECT id FROM payment") == [1]
        async with await connection.as_manager(node.settings) as session:
            cursor = await session.execute("SELECT epoch, region FROM leeward.epoch")
            assert await cursor.fetchall() == [(1, "eu-west")]
    assert status.proved
    assert status.role is Role.PRIMARY


async def test_data_directory_of_an_earlier_version_is_reported(start_fleet: StartFleet) -> None:
    (node,) = await start_fleet("eu-west")
    async with node.leased(1):
        await lead(node)
        async with await connection.as_superuser(node.settings, "postgres") as session:
            await session.execute("ALTER ROLE leeward RENAME TO someone")
            await session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'someone'")
        status = await node.until(lambda status: status.problem is not None)
    assert status.problem is not None
    assert "created by an earlier version of Leeward" in status.problem
