"""What every database instance must do that an agent drives through ``leeward.ports.database``."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from leeward.core.values import InstanceStatus, Order, Region, Role, Synchronous, SynchronousMethod
from leeward.ports.database import Database, InstanceUnavailableError, StaleError
from tests.instance.instances import Fleet, basis, status_of
from tests.kit import waiting

CALL_S = 20.0
WAIT_S = 60.0
EU, US = Region("europe-west1"), Region("us-east-1")
FOUND = Order(1, Role.PRIMARY, founding=True)


class Deployment(Protocol):
    """Two instances of one database that can stream from each other, without data at first."""

    def at(self, region: Region) -> Database: ...

    async def lose(self, region: Region) -> None:
        """End everything of one region at once."""
        ...


class Postgres:
    """The real thing: instance managers with PostgreSQL."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def at(self, region: Region) -> Database:
        return self._fleet.nodes[region].client

    async def keep(self) -> None:
        """Start again, as a pod runner does, what the kernel ended with a lease, where the guard's thread starved."""
        while True:
            for node in self._fleet.nodes.values():
                if node.process is not None and node.process.poll() == -signal.SIGKILL:
                    await node.start()
            await asyncio.sleep(0.05)

    async def lose(self, region: Region) -> None:
        self._fleet.nodes[region].kill()


@asynccontextmanager
async def postgres() -> AsyncIterator[Deployment]:
    with tempfile.TemporaryDirectory(prefix="lwpg-") as root:
        fleet = Fleet(Path(root), (EU, US))
        try:
            await fleet.start()
            deployed = Postgres(fleet)
            keeping = asyncio.create_task(deployed.keep())
            try:
                yield deployed
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
        finally:
            await fleet.close()


@pytest.fixture(params=[pytest.param(postgres, id="postgres", marks=pytest.mark.engine)])
async def deployment(request: pytest.FixtureRequest) -> AsyncIterator[Deployment]:
    async with request.param() as opened:
        yield opened


async def until(database: Database, condition: Callable[[InstanceStatus], bool]) -> InstanceStatus:
    """Wait for a status that meets the condition, whatever goes unanswered; fail with the last one otherwise."""
    return await status_of(database, condition, within_s=WAIT_S)


async def _changes(database: Database) -> AsyncIterator[InstanceStatus]:
    async for status in database.changes():
        yield status


async def lease(database: Database, epoch: int, duration_s: float) -> float:
    """Grant a lease as an agent does, by the instance's own clock, and as soon as it answers; return its end."""

    async def granted() -> float:
        until_s = (await database.status(timeout_s=CALL_S)).clock_s + duration_s
        await database.lease(epoch, until_s, basis=await basis(database), timeout_s=CALL_S)
        return until_s

    return await waiting.until(granted, within_s=WAIT_S, every_s=0.05, not_yet=(InstanceUnavailableError,))


async def order(database: Database, wanted: Order, revision: int | None = None) -> InstanceStatus:
    """Order as an agent does that knows what the instance answers now."""
    return await database.order(wanted, basis=await basis(database, revision), timeout_s=CALL_S)


async def settle(database: Database, wanted: Order) -> InstanceStatus:
    accepted = await order(database, wanted)
    assert accepted.epoch == wanted.epoch
    return await until(database, lambda s: s.settled and s.order == wanted and s.role is wanted.role)


async def pair(deployment: Deployment) -> tuple[Database, Database]:
    """A primary under a long lease and its standby."""
    eu, us = deployment.at(EU), deployment.at(US)
    await order(eu, FOUND)
    await lease(eu, 1, 600.0)
    await until(eu, lambda status: status.writable)
    await settle(us, Order(1, Role.STANDBY, EU))
    await until(eu, lambda status: any(sender.region == US and sender.streaming for sender in status.senders))
    return eu, us


async def test_a_new_instance_waits_for_its_first_order(deployment: Deployment) -> None:
    status = await deployment.at(EU).status(timeout_s=CALL_S)
    assert (status.epoch, status.order, status.role) == (0, None, Role.STOPPED)
    assert not status.writable
    assert status.wal is None
    assert not status.has_data


async def test_the_clock_it_tells_never_runs_ahead(deployment: Deployment) -> None:
    first = await deployment.at(EU).status(timeout_s=CALL_S)
    second = await deployment.at(EU).status(timeout_s=CALL_S)
    assert first.clock_s < second.clock_s
    assert first.incarnation == second.incarnation


async def test_changes_tell_at_once_and_go_on_without_changes(deployment: Deployment) -> None:
    async with asyncio.timeout(WAIT_S), aclosing(_changes(deployment.at(EU))) as changes:
        clocks = [(await anext(changes)).clock_s for _ in range(3)]
    assert clocks == sorted(clocks)


async def test_writable_only_under_a_lease_of_its_epoch(deployment: Deployment) -> None:
    eu = deployment.at(EU)
    await order(eu, replace(FOUND, epoch=3))
    status = await until(eu, lambda status: status.activity == "waiting for a lease")
    assert not status.writable
    while not status.writable:  # a slow machine may need more than one lease to create the database
        until_s = await lease(eu, 3, 10.0)
        status = await until(eu, lambda status, ends_s=until_s: status.writable or status.clock_s >= ends_s)
    assert status.lease_until_s == until_s
    assert status.epoch == 3
    # It may say so before, when a busy machine keeps its queries from being answered. And the first status past the end
    # may be of just before it: the clock is read last.
    for _ in range(2):
        status = await until(eu, lambda status: status.clock_s >= until_s)
    assert not status.writable
    await lease(eu, 3, 600.0)
    status = await until(eu, lambda status: status.settled and status.writable)
    assert status.proved


async def test_a_lease_is_never_shortened(deployment: Deployment) -> None:
    eu = deployment.at(EU)
    await order(eu, FOUND)
    until_s = await lease(eu, 1, 600.0)
    status = await eu.lease(1, until_s - 300.0, basis=await basis(eu), timeout_s=CALL_S)
    assert status.lease_until_s == until_s


async def test_older_epochs_are_refused_and_orders_may_be_repeated(deployment: Deployment) -> None:
    eu = deployment.at(EU)
    stop = Order(5, Role.STOPPED)
    await settle(eu, stop)
    assert (await settle(eu, stop)).order == stop
    with pytest.raises(StaleError):
        await order(eu, Order(4, Role.PRIMARY))
    with pytest.raises(StaleError):
        await eu.lease(4, 1e9, basis=await basis(eu), timeout_s=CALL_S)
    assert (await eu.status(timeout_s=CALL_S)).order == stop


async def test_a_cut_standby_promises_all_it_holds_and_is_promoted(deployment: Deployment) -> None:
    eu, us = await pair(deployment)
    before = await until(us, lambda status: status.wal is not None and status.wal.epoch == 1)
    promise = await settle(us, Order(2, Role.DETACHED))
    assert promise.wal is not None
    assert before.wal is not None
    assert promise.wal >= before.wal
    assert promise.upstream is None
    await until(eu, lambda status: not any(sender.streaming for sender in status.senders))
    await order(us, Order(2, Role.PRIMARY))
    await lease(us, 2, 600.0)
    last = promise.wal
    # What it says of its WAL may be from a look just before the record of the epoch was committed.
    status = await until(
        us,
        lambda status: status.settled and status.writable and status.wal is not None and status.wal > last,
    )
    assert status.proved
    await settle(eu, Order(2, Role.STANDBY, US))
    assert not (await eu.status(timeout_s=CALL_S)).writable


async def test_a_stopped_primary_says_what_its_successor_must_hold(deployment: Deployment) -> None:
    eu, us = await pair(deployment)
    stopped = await settle(eu, Order(2, Role.STOPPED))
    assert stopped.wal is not None
    last = stopped.wal
    await until(us, lambda status: status.wal is not None and status.wal >= last)
    await order(us, Order(3, Role.PRIMARY))
    await lease(us, 3, 600.0)
    await until(us, lambda status: status.settled)
    status = await settle(eu, Order(3, Role.STANDBY, US))
    assert status.upstream == US
    assert status.orphans == ()


async def test_a_synchronous_primary_proves_itself_only_with_a_standby(deployment: Deployment) -> None:
    eu, us = deployment.at(EU), deployment.at(US)
    await order(eu, replace(FOUND, synchronous=Synchronous(SynchronousMethod.ANY, 1, (US,))))
    await lease(eu, 1, 600.0)
    status = await until(eu, lambda status: status.writable)
    assert not status.proved
    await settle(us, Order(1, Role.STANDBY, EU))
    # What it says of its standbys may be from a look just before the proof.
    await until(
        eu,
        lambda status: (
            status.proved and [(sender.region, sender.synchronous) for sender in status.senders] == [(US, True)]
        ),
    )


async def test_an_order_that_another_one_overtook_is_refused(deployment: Deployment) -> None:
    eu = deployment.at(EU)
    early = await basis(eu, revision=5)
    await order(eu, Order(1, Role.DETACHED), revision=5)
    for late in (early, await basis(eu, revision=4), replace(await basis(eu, 5), incarnation="another")):
        with pytest.raises(StaleError):
            await eu.order(FOUND, basis=late, timeout_s=CALL_S)
    for late in (await basis(eu, revision=4), replace(await basis(eu, 5), incarnation="another")):
        with pytest.raises(StaleError):
            await eu.lease(1, 1e9, basis=late, timeout_s=CALL_S)
    status = await order(eu, Order(1, Role.DETACHED), revision=6)
    assert (status.revision, status.accepted) == (6, 1), "the same order again counts once"


async def test_a_drained_primary_leads_again_only_under_another_revision(deployment: Deployment) -> None:
    eu = deployment.at(EU)
    await order(eu, FOUND, revision=5)
    await order(eu, Order(1, Role.STOPPED), revision=5)
    with pytest.raises(StaleError):
        await order(eu, FOUND, revision=5)
    await order(eu, FOUND, revision=6)


async def test_a_lost_instance_is_unavailable(deployment: Deployment) -> None:
    eu = deployment.at(EU)
    await eu.status(timeout_s=CALL_S)
    await deployment.lose(EU)
    with pytest.raises(InstanceUnavailableError):
        await eu.status(timeout_s=CALL_S)
    with pytest.raises(InstanceUnavailableError):
        await order(eu, Order(1, Role.STOPPED))
    with pytest.raises(InstanceUnavailableError):
        await eu.lease(1, 1e9, basis=await basis(eu), timeout_s=CALL_S)
    with pytest.raises(InstanceUnavailableError):
        await anext(_changes(eu))


async def test_a_primary_that_stopped_cleanly_holds_the_end_of_its_wal_in_recovery(deployment: Deployment) -> None:
    """After a switchover that was given up, an election goes on only with what the old primary stopped with."""
    eu = deployment.at(EU)
    await order(eu, FOUND)
    await lease(eu, 1, 600.0)
    await until(eu, lambda status: status.writable)
    stopped = await settle(eu, Order(1, Role.STOPPED))
    assert stopped.wal is not None
    assert stopped.has_data
    apart = await settle(eu, Order(1, Role.DETACHED))
    assert apart.wal is not None
    assert apart.wal.lsn >= stopped.wal.lsn
