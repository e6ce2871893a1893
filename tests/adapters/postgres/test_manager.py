"""One instance manager and its PostgreSQL: orders, leases, the guard, crashes."""

import pytest

from leeward.core.values import Role
from tests.adapters.postgres.conftest import StartFleet
from tests.adapters.postgres.instances import lead

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
        assert await node.column("SELECT epoch FROM leeward.epoch") == [1]
    assert status.proved
    assert status.role is Role.PRIMARY
