"""Two and three instances: following, cutting, promoting, changing places, rejoining."""

import asyncio
import json
import re
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from leeward.core.values import InstanceStatus, Region, RejoinMethod, Role, Synchronous, SynchronousMethod
from tests.instance.conftest import StartFleet
from tests.instance.instances import Node, lead, thaw
from tests.instance.test_lined_up import ask, comes_true
from tests.kit.waiting import until

pytestmark = pytest.mark.engine

Neighbour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

A, B, C = "us-east-1", "europe-west1", "japaneast"


def first(*members: str) -> Synchronous:
    return Synchronous(SynchronousMethod.FIRST, 1, tuple(Region(name) for name in members))


def any_one(*members: str) -> Synchronous:
    return Synchronous(SynchronousMethod.ANY, 1, tuple(Region(name) for name in members))


def streaming(status: InstanceStatus) -> set[str]:
    return {sender.region for sender in status.senders if sender.streaming}


async def pay(node: Node, number: int) -> None:
    await node.execute(f"INSERT INTO payment VALUES ({number})")


async def payments(node: Node) -> list[object]:
    return await node.column("SELECT id FROM payment ORDER BY id")


async def caught_up(node: Node, number: int) -> None:
    await until(
        lambda: payments(node),
        f"payment {number} arrives in {node.region}",
        accept=lambda found: number in found,
        within_s=60,
        every_s=0.05,
        not_yet=(psycopg.Error,),
    )


async def first_pair(a: Node, b: Node, synchronous: Synchronous | None = None) -> None:
    """Make ``a`` the primary of epoch 1 and ``b`` its standby, with one payment on both."""
    await lead(a, synchronous=synchronous)
    await b.settle(1, Role.STANDBY, a)
    await a.until(lambda status: status.settled and streaming(status) == {b.region})
    await a.execute("CREATE TABLE payment (id int PRIMARY KEY)")
    await pay(a, 1)
    await caught_up(b, 1)


async def test_standby_copies_follows_and_is_listed(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b)
        # One look that PostgreSQL does not answer in time knows no upstream.
        status = await b.until(lambda status: status.upstream == a.region)
        assert not status.writable
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await pay(b, 2)


@pytest.mark.parametrize("synchronous", [first(B, C), any_one(B, C)], ids=["first", "any"])
async def test_commit_waits_for_a_standby_in_the_synchronous_modes(
    start_fleet: StartFleet, synchronous: Synchronous
) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await a.order(1, Role.PRIMARY, synchronous=synchronous)
        # It accepts writes, but its record waits for a standby.
        status = await a.until(lambda status: status.writable)
        assert not status.proved
        assert not status.settled
        await b.settle(1, Role.STANDBY, a)
        # What it says of its standbys may be from a look just before the proof.
        await a.until(
            lambda status: (
                status.proved and status.settled and [sender.synchronous for sender in status.senders] == [True]
            )
        )
        await b.settle(2, Role.DETACHED)
        await a.until(lambda status: not streaming(status))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1), await a.connect() as connection:
                await connection.execute("CREATE TABLE refused (id int)")


async def test_mode_is_switched_on_the_running_primary(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b)
        postmaster = a.postmaster().pid
        await a.settle(1, Role.PRIMARY, synchronous=any_one(B))
        await a.until(lambda status: any(sender.synchronous for sender in status.senders))
        await pay(a, 2)
        await a.settle(1, Role.PRIMARY)
        await a.until(lambda status: not any(sender.synchronous for sender in status.senders))
        assert a.postmaster().pid == postmaster


async def test_cut_standby_promises_and_is_promoted_under_a_lease_only(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b, first(B))
        before = await b.until(lambda status: status.wal is not None and status.wal.epoch == 1)
        promise = await b.settle(2, Role.DETACHED)
        assert promise.upstream is None
        assert promise.wal is not None
        assert before.wal is not None
        assert promise.wal >= before.wal
        await a.until(lambda status: not streaming(status))
    await b.order(2, Role.PRIMARY)
    waiting = await b.until(lambda status: status.activity == "waiting for a lease")
    assert not waiting.writable
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await pay(b, 2)
    async with b.leased(2):
        # What it says of its WAL may be from a look just before the record of the epoch was committed.
        status = await b.until(
            lambda status: status.settled and status.writable and status.wal is not None and status.wal.epoch == 2
        )
        await pay(b, 2)
        assert await payments(b) == [1, 2]
    assert status.wal is not None
    assert status.wal > promise.wal


async def test_switchover_and_back_needs_no_rewind(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b)
        a.prepare_segments()
        stopped = await a.settle(2, Role.STOPPED)
        assert stopped.wal is not None
        target = stopped.wal
        received = await b.until(lambda status: status.wal is not None and status.wal >= target)
        assert received.wal == target
    async with b.leased(3):
        await b.settle(3, Role.PRIMARY)
        await pay(b, 2)
        await a.settle(3, Role.STANDBY, b)
        await caught_up(a, 2)
        stopped = await b.settle(4, Role.STOPPED)
    assert stopped.wal is not None
    last = stopped.wal
    await a.until(lambda status: status.wal == last)
    async with a.leased(5):
        await a.settle(5, Role.PRIMARY)
        await pay(a, 3)
        await b.settle(5, Role.STANDBY, a)
        await caught_up(b, 3)
    for node in (a, b):
        assert '"stage": "rewind"' not in node.log.read_text()
        status = await node.client.status(timeout_s=20)
        assert status.orphans == ()
        assert status.rejoined is None or status.rejoined.method is RejoinMethod.NOTHING
    assert node_copies(a) == 0
    assert node_copies(b) == 1


def node_copies(node: Node) -> int:
    return node.log.read_text().count('"stage": "copy", "outcome": "done"')


def read_lines(path: str) -> list[dict[str, Any]]:
    """Return the rows in a file of orphans."""
    return [line for line in map(json.loads, Path(path).read_text().splitlines()) if "row" in line]


async def test_deposed_primary_keeps_its_orphans_and_rejoins_by_rewind(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b)
        await b.settle(2, Role.DETACHED)
        # Acknowledged by the old primary alone, in async mode.
        await a.execute("INSERT INTO payment SELECT generate_series(100, 104)")
        await pay(a, 105)
        async with await a.connect() as connection, connection.transaction(force_rollback=True):
            await connection.execute("INSERT INTO payment VALUES (106)")
    async with b.leased(2):
        await b.settle(2, Role.PRIMARY)
        await pay(b, 2)
        a.kill()
        await a.start()
        status = await a.settle(2, Role.STANDBY, b)
        await caught_up(a, 2)
        assert await payments(a) == [1, 2]
        await b.until(lambda status: streaming(status) == {a.region})
    (orphans,) = status.orphans
    assert (orphans.epoch, orphans.transactions, orphans.rows) == (1, 2, 6)
    lines = read_lines(orphans.path)
    assert [line["row"]["id"] for line in lines] == ["100", "101", "102", "103", "104", "105"]
    assert {line["table"] for line in lines} == {"public.payment"}
    assert '"stage": "rewind", "outcome": "done"' in a.log.read_text()
    assert status.rejoined is not None
    assert (status.rejoined.method, status.rejoined.orphaned) == (RejoinMethod.REWIND, 2)
    assert status.rejoined.copied_bytes > 0
    assert "past the fork" in status.rejoined.because
    assert node_copies(a) == 0


async def test_a_write_before_the_fork_whose_commit_comes_after_it_is_an_orphan(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b)
        # Without a key the same row may be there twice.
        await a.execute("CREATE TABLE remark (text text)")
        async with await a.connect() as connection, connection.transaction():
            await connection.execute("INSERT INTO payment VALUES (100)")
            await connection.execute("INSERT INTO remark VALUES ('twice'), ('twice')")
            # Once the standby has this one, it has the work above, too.
            await pay(a, 2)
            await caught_up(b, 2)
            await b.settle(2, Role.DETACHED)
    async with b.leased(2):
        await b.settle(2, Role.PRIMARY)
        a.kill()
        await a.start()
        status = await a.settle(2, Role.STANDBY, b)
        assert await payments(b) == [1, 2]
    (orphans,) = status.orphans
    assert (orphans.epoch, orphans.transactions, orphans.rows) == (1, 1, 3)
    assert [line["row"] for line in read_lines(orphans.path)] == [{"id": "100"}, *[{"text": "twice"}] * 2]


async def test_deposed_primary_that_committed_nothing_has_no_orphans(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b)
        await b.settle(2, Role.DETACHED)
        async with await a.connect() as connection, connection.transaction(force_rollback=True):
            await connection.execute("INSERT INTO payment VALUES (100)")
    async with b.leased(2):
        await b.settle(2, Role.PRIMARY)
        detached = await a.settle(2, Role.DETACHED)
        assert detached.wal is not None
        assert detached.wal.epoch == 1
        status = await a.settle(2, Role.STANDBY, b)
        await pay(b, 2)
        await caught_up(a, 2)
    assert status.orphans == ()


async def test_other_standby_changes_its_upstream_without_a_restart(start_fleet: StartFleet) -> None:
    a, b, c = await start_fleet(A, B, C)
    async with a.leased(1):
        await first_pair(a, b)
        await c.settle(1, Role.STANDBY, a)
        await caught_up(c, 1)
        postmaster = c.postmaster().pid
        # The favourite holds the most: what the primary writes by itself may come to one of them only.
        cut = await c.settle(2, Role.DETACHED)
        assert cut.wal is not None
        held = cut.wal
        await b.until(lambda status: status.wal is not None and status.wal >= held)
        await b.settle(2, Role.DETACHED)
    # It lines up behind the favourite before that one is promoted.
    await c.order(2, Role.STANDBY, b)
    async with b.leased(2):
        await b.settle(2, Role.PRIMARY, synchronous=any_one(A, C))
        await pay(b, 2)
        await c.until(lambda status: status.settled and status.upstream == b.region)
        await caught_up(c, 2)
        assert c.postmaster().pid == postmaster


async def test_two_instances_that_chose_the_same_timeline_are_told_apart(start_fleet: StartFleet) -> None:
    a, b, c = await start_fleet(A, B, C)
    async with a.leased(1):
        await first_pair(a, b)
        await c.settle(1, Role.STANDBY, a)
        await caught_up(c, 1)
        await a.settle(2, Role.STOPPED)
        wal = (await a.client.status(timeout_s=20)).wal
        await asyncio.gather(b.until(lambda s: s.wal == wal), c.until(lambda s: s.wal == wal))
    async with b.leased(3):
        await c.settle(3, Role.DETACHED)
        await b.settle(3, Role.PRIMARY)
        await pay(b, 100)
        b.kill()
    async with c.leased(4):
        await c.settle(4, Role.PRIMARY)
        await c.execute("INSERT INTO payment SELECT generate_series(200, 300)")
        await b.start()
        status = await b.settle(4, Role.STANDBY, c)
        await caught_up(b, 300)
        assert 100 not in await payments(b)
        assert [(o.epoch, o.transactions, o.rows) for o in status.orphans] == [(3, 1, 1)]


async def test_a_deposed_primary_that_lined_up_behind_one_that_was_passed_over(start_fleet: StartFleet) -> None:
    a, b, c = await start_fleet(A, B, C)
    async with a.leased(1):
        await first_pair(a, b)
        await c.settle(1, Role.STANDBY, a)
        await caught_up(c, 1)
        await c.settle(2, Role.DETACHED)
        await pay(a, 100)
        await caught_up(b, 100)
        # It can line up only behind one that holds all that it wrote, by itself and at any moment, too.
        deposed = await a.settle(2, Role.DETACHED)
        assert deposed.wal is not None
        last = deposed.wal
        await b.until(lambda status: status.wal is not None and status.wal >= last)
        await b.settle(2, Role.DETACHED)
    await a.settle(2, Role.STANDBY, b)
    async with c.leased(3):
        await c.settle(3, Role.PRIMARY)
        await pay(c, 2)
        await a.settle(3, Role.STANDBY, c)
        await caught_up(a, 2)
        status = await a.until(lambda status: status.settled)
    assert await payments(a) == [1, 2]
    assert [(o.epoch, o.transactions, o.rows) for o in status.orphans] == [(1, 1, 1)]


async def test_the_history_of_a_fork_that_is_not_ours_does_not_keep_it_from_starting(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b)
        b.kill()
        # As its WAL receiver leaves it behind, when the upstream's history turns out not to contain ours.
        history = b.root / "volume" / "pgdata" / "pg_wal" / "00000002.history"
        history.write_text("1\t0/2000000\tno recovery target specified\n")
        await b.start()
        await b.settle(1, Role.STANDBY, a)
        await pay(a, 2)
        await caught_up(b, 2)
    assert not history.exists()


async def test_standby_without_data_never_begins_a_database_of_its_own(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b)
        async with b.leased(2):
            await b.settle(2, Role.DETACHED)
            a.stop()
            for path in (a.root / "volume").iterdir():
                await asyncio.to_thread(remove, path)
            await a.start()
            await a.order(2, Role.PRIMARY, founding=True)
            status = await a.until(lambda status: "refusing to create a new database" in (status.problem or ""))
            assert not status.writable


async def test_a_primary_that_lost_data_and_state_creates_no_database_while_no_neighbour_listens(
    start_fleet: StartFleet,
) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b)
        b.stop()
        a.stop()
        for path in (a.root / "volume").iterdir():
            await asyncio.to_thread(remove, path)
        await a.start()
        await a.order(1, Role.PRIMARY, founding=False)
        await a.until(lambda status: "already has a database" in (status.problem or ""))
        assert not (a.root / "volume" / "pgdata").exists()


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    await closed(writer)


async def start_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as a PostgreSQL that is about to open its data directory."""
    await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big") - 4)
    fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
    writer.write(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
    await reader.read()
    await closed(writer)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("neighbour", "problem"),
    [
        pytest.param(say_nothing, f"{B} cannot confirm that it has none: not creating a database yet", id="silent"),
        pytest.param(start_up, f"{B} has data: refusing to create a new database", id="starting up"),
    ],
)
async def test_without_data_it_begins_anew_only_when_every_neighbour_has_none(
    start_fleet: StartFleet, neighbour: Neighbour, problem: str
) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        served = await asyncio.start_server(neighbour, "127.0.0.1", b.port)
        async with served:
            await a.order(1, Role.PRIMARY)
            await a.until(lambda status: problem in (status.problem or ""))
            assert not (a.root / "volume" / "pgdata").exists()
        await a.until(lambda status: status.settled and status.writable)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


async def never_give_up(node: Node) -> None:
    """Have a node's PostgreSQL wait for a standby that does not answer until it is stopped, which ends the setting."""
    text = node.settings.layout.configuration / "postgresql.conf"
    configured, count = re.subn(r"(?m)^wal_sender_timeout = .*$", "wal_sender_timeout = 1h", text.read_text())
    assert count == 1
    text.write_text(configured)
    await ask(node, "SELECT pg_reload_conf()")
    await comes_true(node, "current_setting('wal_sender_timeout') = '1h'")


async def test_a_stop_that_is_called_off_waits_for_no_standby(start_fleet: StartFleet) -> None:
    """As when the target of a switchover stands still: PostgreSQL would wait until the connection was given up."""
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b)
        await never_give_up(a)
        # Most of the checkpoint is done before the stop, which has 15 s.
        await pay(a, 2)
        await ask(a, "CHECKPOINT")
        frozen = b.freeze()
        try:
            await a.order(1, Role.STOPPED)
            await until(lambda: '"activity": "stopping"' in a.log.read_text())
            await a.settle(1, Role.PRIMARY, revision=1)
            await pay(a, 3)
        finally:
            thaw(frozen)
        assert "stopping before a restart" in a.log.read_text()
        assert await payments(a) == [1, 2, 3]
        await caught_up(b, 3)


async def test_data_that_a_rewind_left_half_changed_are_replaced_also_without_the_state_file(
    start_fleet: StartFleet,
) -> None:
    first, second = await start_fleet("us-east-1", "europe-west1")
    async with first.leased(1):
        await lead(first)
        await second.settle(1, Role.STANDBY, first)
        second.stop()
        layout = second.settings.layout
        layout.rewinding.touch()
        layout.state.unlink()
        copies = second.log.read_text().count('"stage": "copy"')
        await second.start()
        await second.settle(1, Role.STANDBY, first)
        assert second.log.read_text().count('"stage": "copy"') == copies + 1
        assert not layout.rewinding.exists()


async def test_data_without_a_state_file_that_postgresql_does_not_start_on_are_set_aside_and_copied(
    start_fleet: StartFleet,
) -> None:
    first, second = await start_fleet("us-east-1", "europe-west1")
    async with first.leased(1):
        await lead(first)
        await second.settle(1, Role.STANDBY, first)
        second.stop()
        layout = second.settings.layout
        layout.state.unlink()
        (layout.data / "global" / "pg_control").write_bytes(bytes(8192))
        await second.start()
        status = await second.settle(1, Role.STANDBY, first, timeout_s=180.0)
    aside = layout.orphans / "unusable-1.pgdata"
    assert (aside / "global" / "pg_control").read_bytes() == bytes(8192)
    assert status.rejoined is not None
    assert str(aside) in status.rejoined.because
