"""A standby behind one that is to be promoted, or is not after all: the standby session with real PostgreSQL."""

import asyncio
from contextlib import suppress

import psycopg
import pytest

from leeward.core.values import Region, Role, Synchronous, SynchronousMethod
from leeward.instance.settings import Layout, slot_name
from tests.instance.conftest import StartFleet
from tests.instance.instances import DATABASE, Node, lead, thaw
from tests.kit.waiting import until

pytestmark = pytest.mark.engine

A, B, C = "us-east-1", "europe-west1", "japaneast"
TOOK_OVER = "standby session took over"
NOBODY_PROMOTED = "the timeline ended, but the upstream was not promoted"
FORKED_BEFORE = "the WAL received of the previous timeline ends at"
LONG_S = 90.0


async def ask(node: Node, text: str, database: str = DATABASE) -> list[tuple[object, ...]]:
    """Ask PostgreSQL as its superuser."""
    async with (
        asyncio.timeout(LONG_S),
        await psycopg.AsyncConnection.connect(
            host=str(Layout(node.root / "volume").socket),
            port=node.port,
            user="postgres",
            dbname=database,
            autocommit=True,
        ) as connection,
    ):
        cursor = await connection.execute(text.encode())
        return await cursor.fetchall() if cursor.description else []


async def comes_true(node: Node, condition: str) -> None:
    """Wait until a condition holds in a node's database, whether it can be asked yet or not."""
    await until(
        lambda: ask(node, f"SELECT 1 WHERE {condition}"),
        condition,
        within_s=LONG_S,
        every_s=0.05,
        not_yet=(psycopg.OperationalError, psycopg.errors.UndefinedTable),
    )


def waiting(region: str) -> str:
    return (
        "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'"
        f" AND application_name = '{region}' AND query LIKE 'DO %' AND state = 'active')"
    )


# A proxy whose standby session is not there within a second, as on a busy machine, streams on without it.
END_A_STREAM_WITHOUT_STANDBY_SESSION = f"""
SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name = '{C}' AND state = 'streaming' AND
(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender' AND application_name = '{C}') = 1
"""


async def waits_behind(b: Node) -> None:
    """Wait until a standby session of C waits at ``b``; a stream that goes on without one has to begin again."""

    async def waits() -> bool:
        if await ask(b, f"SELECT 1 WHERE {waiting(C)} = 1"):
            return True
        await ask(b, END_A_STREAM_WITHOUT_STANDBY_SESSION)
        return False

    await until(waits, "a standby session waits", within_s=LONG_S, every_s=0.05, not_yet=(psycopg.OperationalError,))


async def lined_up(a: Node, b: Node, c: Node, payments: int = 1) -> None:
    """Make ``a`` the primary and ``b`` its standby, with ``c`` behind ``b`` and a standby session that waits there."""
    await lead(a)
    await asyncio.gather(b.settle(1, Role.STANDBY, a), c.settle(1, Role.STANDBY, a))
    await a.execute("CREATE TABLE payment (id int PRIMARY KEY)")
    await a.execute(f"INSERT INTO payment SELECT generate_series(1, {payments})")
    await c.settle(2, Role.STANDBY, b)
    await waits_behind(b)


async def followed_by(primary: Node, region: str) -> None:
    """Wait until a region streams from a primary: once, and through its slot."""
    await comes_true(
        primary,
        f"(SELECT array_agg(pid) FROM pg_stat_replication WHERE application_name = '{region}' AND state = 'streaming')"
        f" = (SELECT array_agg(active_pid) FROM pg_replication_slots WHERE slot_name = '{slot_name(Region(region))}')",
    )


async def torn(primary: Node, *standbys: Node) -> None:
    """Have the standbys hold the first part of a record whose rest the primary, which then stands still, never sent."""
    holds = "pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn() AND (pg_last_wal_receive_lsn() - '0/0') % 8192 = 0"
    async with asyncio.timeout(LONG_S):
        while True:
            # Nobody waits for it: it is written out by and by, to the end of the last full page.
            await ask(primary, "SELECT pg_logical_emit_message(false, 'torn', repeat('x', 100000))")
            with suppress(TimeoutError):
                async with asyncio.timeout(LONG_S / 9):
                    await asyncio.gather(*(comes_true(standby, holds) for standby in standbys))
            frozen = primary.freeze()
            if all([await ask(standby, f"SELECT 1 WHERE {holds}") for standby in standbys]):
                return
            thaw(frozen)


async def test_it_takes_over_when_the_promotion_comes(start_fleet: StartFleet) -> None:
    a, b, c = await start_fleet(A, B, C)
    async with a.leased(1):
        await lined_up(a, b, c)
        await a.settle(3, Role.STOPPED)
    async with b.leased(4):
        await c.order(4, Role.STANDBY, b)
        # Nobody but C can acknowledge.
        await b.settle(4, Role.PRIMARY, synchronous=Synchronous(SynchronousMethod.ANY, 1, (a.region, c.region)))
        assert TOOK_OVER in c.log.read_text()
        assert FORKED_BEFORE not in c.log.read_text()
        await b.execute("INSERT INTO payment VALUES (2)")
        await comes_true(c, "(SELECT array_agg(id ORDER BY id) FROM payment) = '{1,2}'")
        await followed_by(b, C)
        # The connection that was replaced ends, at a moment of its own.
        await comes_true(b, f"(SELECT count(*) FROM pg_stat_replication WHERE application_name = '{C}') = 1")


async def test_without_asking_ahead_the_promotion_is_followed_too(start_fleet: StartFleet) -> None:
    a, b, c = await start_fleet(A, B, C)
    await c.restart("--no-wal-prefetch")
    async with a.leased(1):
        await lead(a)
        await asyncio.gather(b.settle(1, Role.STANDBY, a), c.settle(1, Role.STANDBY, a))
        await a.execute("CREATE TABLE payment (id int PRIMARY KEY)")
        await c.settle(2, Role.STANDBY, b)
        await a.settle(3, Role.STOPPED)
    async with b.leased(4):
        await c.order(4, Role.STANDBY, b)
        await b.settle(4, Role.PRIMARY, synchronous=Synchronous(SynchronousMethod.ANY, 1, (a.region, c.region)))
        await b.execute("INSERT INTO payment VALUES (1)")
        await comes_true(c, "(SELECT count(*) FROM payment) = 1")
        await followed_by(b, C)
        await c.until(lambda status: status.upstream == b.region)
    assert TOOK_OVER not in c.log.read_text()


@pytest.mark.timeout(600)
async def test_a_promotion_that_does_without_the_last_record_is_followed(start_fleet: StartFleet) -> None:
    a, b, c = await start_fleet(A, B, C)
    async with a.leased(1):
        await lined_up(a, b, c)
        await torn(a, b, c)
        a.kill()
    async with b.leased(4):
        await c.order(4, Role.STANDBY, b)
        await b.settle(4, Role.PRIMARY, synchronous=Synchronous(SynchronousMethod.ANY, 1, (a.region, c.region)))
        # It held, and claimed to hold, more of the old timeline than the new one goes on from.
        assert FORKED_BEFORE in c.log.read_text()
        await b.execute("INSERT INTO payment SELECT generate_series(2, 5000)")
        await comes_true(c, "(SELECT count(*) FROM payment) = 5000")
        await followed_by(b, C)


@pytest.mark.parametrize(
    "next_segment", [pytest.param(False, id="the same segment"), pytest.param(True, id="the next segment")]
)
async def test_what_is_written_after_it_has_asked_comes_once(start_fleet: StartFleet, next_segment: bool) -> None:
    a, b, c = await start_fleet(A, B, C)
    async with a.leased(1):
        await lined_up(a, b, c)
        if next_segment:
            await ask(a, "SELECT pg_switch_wal()")
        await a.execute("INSERT INTO payment SELECT generate_series(2, 500)")
        stopped = await a.settle(3, Role.STOPPED)
        assert stopped.wal is not None
        last = stopped.wal
        await asyncio.gather(*(node.until(lambda status: status.wal == last, timeout_s=LONG_S) for node in (b, c)))
    async with b.leased(4):
        await c.order(4, Role.STANDBY, b)
        await b.settle(4, Role.PRIMARY, synchronous=Synchronous(SynchronousMethod.ANY, 1, (a.region, c.region)))
        # The next segment of the new timeline is all there is of it: the standby session has asked for the one before.
        assert (TOOK_OVER in c.log.read_text()) is not next_segment
        assert FORKED_BEFORE not in c.log.read_text()
        await b.execute("INSERT INTO payment VALUES (501)")
        await comes_true(c, "(SELECT count(*) FROM payment) = 501")
        await followed_by(b, C)


async def test_another_is_promoted_instead(start_fleet: StartFleet) -> None:
    a, b, c = await start_fleet(A, B, C)
    async with a.leased(1):
        await lined_up(a, b, c)
        await a.execute("INSERT INTO payment VALUES (2)")
        await c.settle(3, Role.STANDBY, a)
        await a.execute("INSERT INTO payment VALUES (3)")
        await followed_by(a, C)
        await comes_true(c, "(SELECT count(*) FROM payment) = 3")
        # Nothing is left at the one that was passed over.
        await comes_true(
            b,
            f"NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'walsender' AND application_name = '{C}')",
        )
    assert TOOK_OVER not in c.log.read_text()


async def test_the_upstream_follows_a_promotion_elsewhere(start_fleet: StartFleet) -> None:
    a, b, c = await start_fleet(A, B, C)
    async with a.leased(1):
        await lined_up(a, b, c)
        await a.settle(3, Role.DETACHED)
    async with a.leased(4):
        # A timeline of its own; the others stay where they are.
        await a.settle(4, Role.PRIMARY)
        await a.execute("INSERT INTO payment VALUES (2)")
        await comes_true(c, "(SELECT array_agg(id ORDER BY id) FROM payment) = '{1,2}'")
        await followed_by(b, C)
    assert NOBODY_PROMOTED in c.log.read_text()


async def test_the_upstream_dies_while_it_waits(start_fleet: StartFleet) -> None:
    a, b, c = await start_fleet(A, B, C)
    async with a.leased(1):
        await lined_up(a, b, c)
        b.kill()
        await a.settle(3, Role.STOPPED)
    await b.start()
    await b.settle(3, Role.DETACHED)
    await waits_behind(b)
    async with b.leased(4):
        await c.order(4, Role.STANDBY, b)
        await b.settle(4, Role.PRIMARY, synchronous=Synchronous(SynchronousMethod.ANY, 1, (a.region, c.region)))
        await b.execute("INSERT INTO payment VALUES (2)")
        await comes_true(c, "(SELECT count(*) FROM payment) = 2")
        await followed_by(b, C)


async def test_a_promotion_that_does_not_come_is_not_waited_for(start_fleet: StartFleet) -> None:
    a, b, c = await start_fleet(A, B, C)
    async with a.leased(1):
        await lined_up(a, b, c)
        # As the statement itself does in the end. Then it streams through its slot, which a standby session would need.
        await ask(b, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DO %'")
        await followed_by(b, C)
        await a.execute("INSERT INTO payment VALUES (2)")
        await comes_true(c, "(SELECT count(*) FROM payment) = 2")
        await a.settle(3, Role.STOPPED)
    async with b.leased(4):
        await c.order(4, Role.STANDBY, b)
        await b.settle(4, Role.PRIMARY, synchronous=Synchronous(SynchronousMethod.ANY, 1, (a.region, c.region)))
        await followed_by(b, C)
