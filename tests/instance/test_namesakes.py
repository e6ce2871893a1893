"""Two timelines of the same number, each begun by another instance at the same LSN: whose writes are whose."""

import asyncio
import re
from pathlib import Path

import pytest

from leeward.base.units import parse_lsn
from leeward.core.values import RejoinMethod, Role
from leeward.instance.postgres.lineage import parse_history
from tests.instance.conftest import StartFleet
from tests.instance.instances import Node, lead
from tests.instance.test_lined_up import LONG_S, ask
from tests.instance.test_replication import A, B, C, caught_up, pay, payments, read_lines, streaming
from tests.instance.test_timelines import settled_on

pytestmark = pytest.mark.engine

MUCH_BYTES = 1 << 18
"""Far more than what a primary writes by itself in these tests."""


def history(node: Node, timeline: int) -> tuple[tuple[int, int], ...]:
    """Return (timeline, LSN where it was left) of each one before a timeline, as PostgreSQL wrote it down."""
    return parse_history((node.root / "volume" / "pgdata" / "pg_wal" / f"{timeline:08X}.history").read_text())


def kept(orphans: str, table: str) -> list[object]:
    """Return the numbers in a file of orphans that are of one table."""
    return [int(line["row"]["id"]) for line in read_lines(orphans) if line["table"] == f"public.{table}"]


def last_record_lsn(orphans: str) -> int:
    """Return where the last record begins in the WAL that is kept beside a file of orphans."""
    return parse_lsn(re.findall(r" lsn: ([0-9A-F]+/[0-9A-F]+),", Path(orphans).with_suffix(".wal").read_text())[-1])


async def flushed_lsn(node: Node) -> int:
    ((lsn,),) = await ask(node, "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint")
    return int(str(lsn))


async def refunds(node: Node) -> list[object]:
    return await node.column("SELECT id FROM refund ORDER BY id")


async def pay_past(node: Node, lsn: int, after: int) -> None:
    """Commit payments, all with a number higher than ``after``, until the WAL has gone past an LSN."""
    while await flushed_lsn(node) <= lsn:
        first = f"greatest((SELECT max(id) FROM payment), {after})"
        await node.execute(f"INSERT INTO payment SELECT {first} + generate_series(1, 500)")


async def begun_twice(a: Node, b: Node, c: Node, *, goes_further: bool) -> tuple[list[object], int]:
    """Have ``b`` begin timeline 2 where ``a`` ended, and then ``c``, which hears nothing of it; both end there.

    Return the payments of ``b``, the first five of them refunded, and an LSN that the timeline of ``c`` goes past. That
    of ``b`` ends before it, or, to go further, only the five and their refunds do.
    """
    async with a.leased(1):
        await lead(a)
        await asyncio.gather(*(node.settle(1, Role.STANDBY, a) for node in (b, c)))
        for table in ("payment", "refund"):
            await a.execute(f"CREATE TABLE {table} (id int PRIMARY KEY)")
        await pay(a, 1)
        await asyncio.gather(*(caught_up(node, 1) for node in (b, c)))
        stopped = await a.settle(2, Role.STOPPED)
        assert stopped.wal is not None
        last = stopped.wal
        await asyncio.gather(*(node.until(lambda status: status.wal == last, LONG_S) for node in (b, c)))
        a.kill()
    await c.settle(2, Role.DETACHED)
    async with b.leased(2):
        await b.settle(2, Role.PRIMARY)
        for number in range(2, 7):
            await pay(b, number)
        # On a page that nobody else will ever write.
        await b.execute("INSERT INTO refund SELECT id FROM payment WHERE id > 1")
        lsn = await flushed_lsn(b)
        if goes_further:
            await pay_past(b, lsn + 4 * MUCH_BYTES, 6)
        else:
            lsn += MUCH_BYTES
        paid = (await payments(b))[1:]
        b.kill()
    async with c.leased(3):
        await c.settle(3, Role.PRIMARY)
        await pay_past(c, lsn, 1_000_000)
    await c.settle(4, Role.DETACHED)
    assert history(b, 2) == history(c, 2) == ((1, last.lsn),)
    return paid, lsn


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "goes_further",
    [pytest.param(True, id="ours ends after theirs"), pytest.param(False, id="ours ends before theirs")],
)
async def test_a_timeline_that_another_began_too_is_given_up_from_its_beginning(
    start_fleet: StartFleet, goes_further: bool
) -> None:
    """By the numbers, which pg_rewind goes by, the histories fork only where the upstream left its timeline 2."""
    a, b, c = await start_fleet(A, B, C)
    paid, lsn = await begun_twice(a, b, c, goes_further=goes_further)
    async with c.leased(5):
        await c.settle(5, Role.PRIMARY)
        await settled_on(3, c, Role.PRIMARY)
        await b.start()
        status = await b.settle(5, Role.STANDBY, c, timeout_s=LONG_S)
        await settled_on(3, b, Role.STANDBY)
        await c.until(lambda status: streaming(status) == {b.region})
        await pay(c, 0)
        await caught_up(b, 0)
        assert await payments(b) == await payments(c)
        assert set(paid).isdisjoint(await payments(b))
        assert await refunds(b) == await refunds(c) == []
    (orphans,) = status.orphans
    assert (orphans.epoch, orphans.rows, orphans.unread) == (2, len(paid) + 5, ())
    assert (kept(orphans.path, "payment"), kept(orphans.path, "refund")) == (paid, paid[:5])
    (_, theirs_lsn) = history(c, 3)[-1]
    assert theirs_lsn > lsn
    assert (last_record_lsn(orphans.path) > theirs_lsn) == goes_further
    assert status.rejoined is not None
    assert (status.rejoined.method, status.rejoined.orphaned) == (RejoinMethod.COPY, orphans.transactions)
    assert '"stage": "rewind"' not in b.log.read_text()
