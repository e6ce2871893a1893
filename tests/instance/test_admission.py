"""Which write of the application is the first of an epoch, and whether it waits for the standbys."""

import asyncio
from contextlib import suppress

import psutil
import psycopg
import pytest

from leeward.core.values import InstanceStatus, Role
from tests.instance.conftest import StartFleet
from tests.instance.instances import DATABASE, OWNER, PASSWORD, Node, each
from tests.instance.test_lined_up import ask
from tests.instance.test_replication import A, B, C, any_one, first_pair, streaming

pytestmark = pytest.mark.engine

CLIENTS = 6


def checkpointer(node: Node) -> list[psutil.Process]:
    return [process for process in node.postgres() if "checkpointer" in " ".join(process.cmdline())]


def not_seen_waiting(status: InstanceStatus) -> bool:
    """Whether it says that commits do not wait for the standbys yet, and not something passing."""
    return "not confirmed" in (status.problem or "")


# The record's row is written again by the proof, so a trigger keeps the transaction that inserted it.
KEEP_RECORDS = """
CREATE SCHEMA kept;
CREATE TABLE kept.records (epoch bigint, transaction bigint);
CREATE FUNCTION kept.keep() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO kept.records VALUES (NEW.epoch, pg_catalog.pg_current_xact_id()::text::bigint);
  RETURN NULL;
END $$;
CREATE TRIGGER keep AFTER INSERT ON leeward.epoch FOR EACH ROW EXECUTE FUNCTION kept.keep();
"""


async def insert_until_it_works(node: Node) -> None:
    """Write as soon as that is possible."""
    while True:
        with suppress(psycopg.Error, OSError):
            async with await node.connect(timeout_s=20) as connection:
                while True:
                    with suppress(psycopg.errors.ReadOnlySqlTransaction):
                        await connection.execute("INSERT INTO early DEFAULT VALUES")
                        return
                    await asyncio.sleep(0.002)
        await asyncio.sleep(0.002)


async def raw_login(node: Node) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that the server has forked for, and that has not said a word."""
    return await asyncio.open_connection("127.0.0.1", node.port)


async def test_no_write_of_the_application_precedes_the_record_of_its_epoch(start_fleet: StartFleet) -> None:
    a, b, c = await start_fleet(A, B, C)
    async with a.leased(1):
        await first_pair(a, b, any_one(B, C))
        await c.settle(1, Role.STANDBY, a, any_one(A, B))
        await a.execute("CREATE TABLE early (id serial PRIMARY KEY)")
        await ask(a, KEEP_RECORDS, "leeward")
        await b.until(lambda status: status.upstream == a.region)
    a.kill()
    await b.settle(2, Role.DETACHED, synchronous=any_one(A, C))
    await c.settle(2, Role.DETACHED)
    await c.settle(2, Role.STANDBY, b)
    silent, writer = await raw_login(b)
    clients = [asyncio.create_task(insert_until_it_works(b)) for _ in range(CLIENTS)]
    try:
        async with b.leased(2):
            await b.order(2, Role.PRIMARY, synchronous=any_one(A, C))
            async with asyncio.timeout(120):
                await asyncio.gather(*clients)
            assert await silent.read(1) == b"", "a login from before has ended, too"
            ((record,),) = await ask(b, "SELECT transaction FROM kept.records WHERE epoch = 2", "leeward")
            rows = await b.column("SELECT xmin::text::bigint FROM early")
            assert len(rows) == CLIENTS
            assert min(int(str(row)) for row in rows) > int(str(record))
    finally:
        writer.close()
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


async def test_a_standby_carries_the_names_so_a_busy_checkpointer_lets_no_commit_through(
    start_fleet: StartFleet,
) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b, any_one(B))
        await b.settle(1, Role.STANDBY, a, any_one(A))
        await a.execute("CREATE TABLE t (id int PRIMARY KEY)")
        busy = checkpointer(b)
        each(busy, psutil.Process.suspend)
    a.kill()
    await b.settle(2, Role.DETACHED, synchronous=any_one(A))
    async with b.leased(2):
        await b.order(2, Role.PRIMARY, synchronous=any_one(A))
        status = await b.until(lambda status: status.writable)
        assert not status.proved
        async with await b.connect(timeout_s=20) as connection:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3):
                    await connection.execute("INSERT INTO t VALUES (1)")
        # The proof's commit waits for a standby, and no check of the disk here waits for the proof.
        late = await b.until(lambda status: status.writable)
        assert late.problem is None
        assert not late.proved
        each(busy, psutil.Process.resume)


async def test_names_that_no_commit_obeys_admit_no_one(start_fleet: StartFleet) -> None:
    """The checkpointer stands still, and the names come with the promotion only: nothing shows that commits wait."""
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b)
        await a.execute("CREATE TABLE t (id int PRIMARY KEY)")
        busy = checkpointer(b)
        each(busy, psutil.Process.suspend)
    a.kill()
    await b.settle(2, Role.DETACHED)
    async with b.leased(2):
        await b.order(2, Role.PRIMARY, synchronous=any_one(A))
        waiting = await b.until(lambda status: not_seen_waiting(status) and status.role is Role.PRIMARY)
        assert not waiting.writable
        with pytest.raises(psycopg.OperationalError, match="rejects"):
            await psycopg.AsyncConnection.connect(
                host="127.0.0.1", port=b.port, user=OWNER, password=PASSWORD, dbname=DATABASE, sslmode="disable"
            )
        each(busy, psutil.Process.resume)
        await b.until(lambda status: status.writable)


async def test_a_stricter_mode_is_settled_only_when_commits_wait(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b)
        await a.until(lambda status: streaming(status) == {B})
        busy = checkpointer(a)
        each(busy, psutil.Process.suspend)
        await a.order(1, Role.PRIMARY, synchronous=any_one(B))
        status = await a.until(not_seen_waiting)
        assert not status.settled
        assert status.writable, "a change of mode ends no session"
        each(busy, psutil.Process.resume)
        await a.until(lambda status: status.settled and status.writable)


async def test_commits_are_seen_waiting_again_after_a_time_in_async(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b, any_one(B))
        await a.until(lambda status: status.settled and status.proved)
        await a.settle(1, Role.PRIMARY)
        busy = checkpointer(a)
        each(busy, psutil.Process.suspend)
        await a.order(1, Role.PRIMARY, synchronous=any_one(B))
        status = await a.until(lambda status: status.settled or not_seen_waiting(status))
        assert not status.settled
        each(busy, psutil.Process.resume)
        await a.until(lambda status: status.settled)
