"""A replica whose upstream no longer has the WAL it needs: noticed at once, and copied again by itself."""

import re

import pytest

from leeward.core.values import InstanceStatus, Order, RejoinMethod, Role
from leeward.instance.postgres.configuration import configured_mb
from tests.instance.conftest import StartFleet
from tests.instance.instances import CALL_S, Node, lead
from tests.instance.test_lined_up import ask
from tests.instance.test_replication import A, B, caught_up, first_pair, pay, streaming
from tests.kit.waiting import until

pytestmark = pytest.mark.engine

# The least that is kept, and room for what a checkpoint leaves besides.
SEGMENTS = 20


async def push(node: Node) -> None:
    """Write more WAL than is kept."""
    for _ in range(SEGMENTS):
        await ask(node, "SELECT pg_logical_emit_message(true, 'fill', 'x')")
        await ask(node, "SELECT pg_switch_wal()")
    await ask(node, "CHECKPOINT")
    await ask(node, "CHECKPOINT")


@pytest.mark.timeout(600)
async def test_a_standby_that_was_away_too_long_copies_again_by_itself(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    for node in (a, b):
        await node.restart("--wal-retention", "0")
    async with a.leased(1, 120.0):
        await first_pair(a, b)
        b.kill()
        await push(a)
        await pay(a, 2)
        await b.start()
        rejoined = await b.until(lambda status: status.rejoined is not None and status.settled, timeout_s=120)
        assert rejoined.rejoined is not None
        assert rejoined.rejoined.method is RejoinMethod.COPY
        await caught_up(b, 2)
        await a.until(lambda status: streaming(status) == {B})


@pytest.mark.timeout(600)
async def test_a_primary_that_was_away_too_long_saves_its_orphans_and_copies_again(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    for node in (a, b):
        await node.restart("--wal-retention", "0")
    async with a.leased(1, 120.0):
        await first_pair(a, b)
        await b.settle(2, Role.DETACHED)
        await pay(a, 100)
    a.kill()
    async with b.leased(2, 120.0):
        await b.order(2, Role.PRIMARY)
        await b.until(lambda status: status.settled and status.writable)
        await push(b)
        await pay(b, 2)
        await a.start()
        await a.order(2, Role.STANDBY, b)
        back = await a.until(lambda status: status.settled and status.upstream == b.region, timeout_s=150)
        assert sum(kept.transactions for kept in back.orphans) == 1
        await caught_up(a, 2)


async def test_how_much_wal_is_kept_follows_what_is_free_of_the_volume(start_fleet: StartFleet) -> None:
    (a,) = await start_fleet(A)
    async with a.leased(1, 120.0):
        await lead(a)
        status = await a.until(lambda status: status.disk is not None)
        assert status.disk is not None
        assert 0 < status.disk.free_bytes < status.disk.size_bytes
        # As after a start when the volume was nearly full.
        text = a.settings.layout.configuration / "postgresql.conf"
        limit = re.search(r"max_slot_wal_keep_size = (\d+)MB", text.read_text())
        assert limit is not None
        text.write_text(text.read_text().replace(limit[0], "max_slot_wal_keep_size = 64MB"))
        await ask(a, "SELECT pg_reload_conf()")
        assert limit[1] != "64"
        # Only the manager writes the file; a reload takes effect when PostgreSQL comes to it.
        wanted_mb = await until(
            lambda: configured_mb(a.settings), accept=lambda found: found not in (64, None), within_s=60, every_s=0.05
        )
        await until(
            lambda: ask(a, "SELECT setting::int FROM pg_settings WHERE name = 'max_slot_wal_keep_size'"),
            accept=lambda rows: rows == [(wanted_mb,)],
            within_s=60,
            every_s=0.05,
        )


async def test_the_slot_of_a_region_that_is_no_upstream_any_more_is_dropped_and_no_other(
    start_fleet: StartFleet,
) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1, 120.0):
        await first_pair(a, b)
        await ask(a, "SELECT pg_create_physical_replication_slot('backup_tool')")
        b.leave()
        await a.restart()
        await a.until(lambda status: status.writable)
        alone = Order(1, Role.PRIMARY, replicas=(a.region,))
        await a.client.order(alone, basis=await a.basis(), timeout_s=CALL_S)
        await until(
            lambda: ask(a, "SELECT slot_name FROM pg_replication_slots"),
            accept=lambda rows: rows == [("backup_tool",)],
            within_s=60,
            every_s=0.05,
        )


async def test_until_wal_arrives_a_standby_is_not_settled(start_fleet: StartFleet) -> None:
    """PostgreSQL calls a WAL receiver streaming from before it has asked for anything."""
    a, b = await start_fleet(A, B)
    for node in (a, b):
        await node.restart("--wal-retention", "0")
    async with a.leased(1, 120.0):
        await first_pair(a, b)
        b.kill()
        await push(a)
        await b.start()
        seen: list[bool] = []

        def copies(status: InstanceStatus) -> bool:
            seen.append(status.settled)
            return status.activity.startswith("copying")

        await b.until(copies, timeout_s=120)
        assert not any(seen), "until it copies, it has not been settled for a moment"
