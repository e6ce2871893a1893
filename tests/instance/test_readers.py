"""Sessions that read on a standby: replay waits for them, unless the standby is cut or promoted."""

from collections.abc import Sequence

import psycopg
import pytest

from leeward.core.values import Role
from tests.instance.conftest import StartFleet
from tests.instance.instances import Node
from tests.instance.test_lined_up import comes_true
from tests.instance.test_replication import A, B, caught_up, first_pair, pay

pytestmark = pytest.mark.engine

LOCK = ("BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM payment")
SNAPSHOT = ("BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM other")
PIN = ("BEGIN", "DECLARE open CURSOR FOR SELECT id FROM payment", "FETCH 1 FROM open")
ALTER = ("ALTER TABLE payment ADD COLUMN note text",)
VACUUM = ("DELETE FROM payment WHERE id < 500", "VACUUM payment")
FREEZE = ("VACUUM (FREEZE) payment",)


# What a vacuum has to leave because somebody may still see it, replay does not wait for.
NOBODY_LOOKS_BACK = """NOT EXISTS (
    SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
)"""


async def blocked_replay(
    a: Node, b: Node, read: Sequence[str], write: Sequence[str]
) -> psycopg.AsyncConnection[tuple[object, ...]]:
    """Have a session on ``b`` read so that replay of what ``a`` writes waits for it."""
    await first_pair(a, b)
    # Only the vacuum here cleans up.
    await a.execute("ALTER TABLE payment SET (autovacuum_enabled = off)")
    await a.execute("CREATE TABLE other (id int)")
    await a.execute("INSERT INTO payment SELECT generate_series(2, 1000)")
    await caught_up(b, 1000)
    reader = await b.connect(timeout_s=20)
    for text in read:
        await reader.execute(text.encode())
    for text in write:
        await comes_true(a, NOBODY_LOOKS_BACK)
        await a.execute(text)
    await pay(a, 5000)
    await comes_true(
        b,
        "EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'startup'"
        " AND (wait_event_type IN ('Lock', 'BufferPin') OR wait_event LIKE 'RecoveryConflict%'))",
    )
    return reader


@pytest.mark.parametrize(
    ("read", "write"),
    [
        pytest.param(LOCK, ALTER, id="lock"),
        pytest.param(SNAPSHOT, VACUUM, id="snapshot"),
        pytest.param(PIN, FREEZE, id="pin"),
    ],
)
async def test_a_cut_standby_waits_for_no_session(
    start_fleet: StartFleet, read: Sequence[str], write: Sequence[str]
) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        reader = await blocked_replay(a, b, read, write)
        a.kill()
    await b.settle(2, Role.DETACHED)
    # By the manager, since the startup process would have gone on waiting for its old setting.
    with pytest.raises(psycopg.errors.AdminShutdown):
        await reader.execute("SELECT 1")
    async with b.leased(2):
        await b.settle(2, Role.PRIMARY)
        assert 5000 in await b.column("SELECT id FROM payment")


async def test_a_standby_that_is_promoted_at_once_waits_for_no_session(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        reader = await blocked_replay(a, b, LOCK, ALTER)
        a.kill()
    async with b.leased(2):
        await b.settle(2, Role.PRIMARY)
        with pytest.raises(psycopg.errors.AdminShutdown):
            await reader.execute("SELECT 1")
        # A primary replays nothing, so nothing ends its sessions.
        async with await b.connect() as fresh:
            for text in LOCK:
                await fresh.execute(text.encode())
            await b.execute("INSERT INTO payment VALUES (6000)")
            await fresh.execute("COMMIT")
        assert {5000, 6000} <= set(await b.column("SELECT id FROM payment"))
