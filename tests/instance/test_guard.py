"""The lease guard, with real processes: what a lease allows, and that nothing outlives it."""

import asyncio
import sys
from contextlib import suppress

import psutil
import psycopg
import pytest

from leeward.adapters.postgres import InstanceManager
from leeward.core.identities import INSTANCE_CA
from leeward.core.timers import STOP_S
from leeward.core.values import App, Region, Role
from leeward.ports.database import InstanceUnavailableError, StaleError
from leeward.world import identity
from tests.instance.conftest import StartFleet
from tests.instance.instances import APP, CALL_S, ELSEWHERE, Node, boot_s, lead, thaw
from tests.kit.waiting import until

pytestmark = pytest.mark.engine


class Writer:
    """One client that writes as fast as it can and notes when it *sent* what was acknowledged."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.acknowledged_sent_s: list[float] = []
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            with suppress(psycopg.Error):
                connection = await self._node.connect(timeout_s=2)
                async with connection:
                    while True:
                        sent_s = boot_s()
                        await connection.execute("INSERT INTO payment DEFAULT VALUES")
                        self.acknowledged_sent_s.append(sent_s)
            await asyncio.sleep(0.02)

    async def wrote(self, more: int = 20) -> None:
        """Wait for so many more acknowledged writes."""
        goal = len(self.acknowledged_sent_s) + more
        await until(lambda: len(self.acknowledged_sent_s) >= goal)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def primary(start_fleet: StartFleet) -> Node:
    (node,) = await start_fleet("eu-west")
    # Shorter than every lease of the tests here, which would not shorten it.
    async with node.leased(1, 10.0):
        await lead(node)
        await node.until(lambda status: status.settled)
        await node.execute("CREATE TABLE payment (id bigserial PRIMARY KEY)")
    return node


def gone(processes: list[psutil.Process]) -> bool:
    return not any(_alive(process) for process in processes)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def ended(processes: list[psutil.Process], timeout_s: float = 60) -> None:
    await until(lambda: gone(processes), within_s=timeout_s)


async def test_nothing_is_acknowledged_after_the_lease_and_a_new_one_brings_it_back(
    start_fleet: StartFleet,
) -> None:
    node = await primary(start_fleet)
    writer = Writer(node)
    leases: list[tuple[float, float]] = []
    activity = ""
    # On a busy machine the kernel may be before the guard's thread: then it is the thread's turn again.
    while activity != "stopped by the guard":
        granted_s = boot_s()
        until_s = await node.lease(1, 15.0)
        leases.append((granted_s if leases else 0.0, until_s + STOP_S))
        await writer.wrote()
        status = await node.out_of_lease()
        assert status.clock_s >= until_s
        assert not status.writable
        activity = status.activity
    leases.append((boot_s(), float("inf")))
    async with node.leased(1):
        await writer.wrote()
        assert (await node.client.status(timeout_s=CALL_S)).epoch == 1
        await writer.close()
    for sent_s in writer.acknowledged_sent_s:
        assert any(granted_s <= sent_s <= ends_s for granted_s, ends_s in leases)


async def test_the_guard_does_not_queue_behind_what_it_ends(start_fleet: StartFleet) -> None:
    node = await primary(start_fleet)
    async with node.leased(1):
        await lead(node)
        managing = [process for process in node.tree() if process not in node.postgres()]
        assert len(managing) >= 2, "the manager and what PostgreSQL is started below"
        permitted = "ordinary process" not in node.log.read_text()
        assert {process.nice() < 0 for process in managing} == {permitted}
        assert {process.nice() for process in node.postgres()} == {0}


async def test_a_lease_of_the_same_epoch_is_never_shortened(start_fleet: StartFleet) -> None:
    node = await primary(start_fleet)
    until_s = await node.lease(1, 30.0)
    status = await node.client.lease(1, until_s - 20.0, basis=await node.basis(), timeout_s=CALL_S)
    assert status.lease_until_s == until_s


async def test_frozen_past_its_lease_it_wakes_up_dead(start_fleet: StartFleet) -> None:
    node = await primary(start_fleet)
    writer = Writer(node)
    until_s = await node.lease(1, 15.0)
    await writer.wrote()
    frozen = node.freeze()
    try:
        # The kernel's timer needs nobody awake.
        await ended(frozen)
    finally:
        thaw(frozen)
    assert boot_s() > until_s
    assert max(writer.acknowledged_sent_s) <= until_s
    await writer.close()
    node.kill()
    await node.start()
    status = await node.until(lambda status: status.activity == "waiting for a lease")
    assert not status.writable
    async with node.leased(1):
        await node.until(lambda status: status.writable and status.settled)


async def test_killing_the_manager_ends_every_backend_and_its_order_survives(
    start_fleet: StartFleet,
) -> None:
    node = await primary(start_fleet)
    writer = Writer(node)
    async with node.leased(1):
        await writer.wrote()
    everything = node.tree()
    assert len(node.postgres()) > 3
    node.kill()
    await ended(everything)
    ended_s = boot_s()
    await node.start()
    status = await node.until(lambda status: status.activity == "waiting for a lease")
    assert status.order is not None
    assert status.order.role is Role.PRIMARY
    assert status.role is Role.STOPPED
    assert max(writer.acknowledged_sent_s) < ended_s
    async with node.leased(1):
        await writer.wrote()
        await writer.close()


async def test_a_crashed_database_is_restarted_under_the_same_lease(start_fleet: StartFleet) -> None:
    node = await primary(start_fleet)
    writer = Writer(node)
    async with node.leased(1):
        await writer.wrote()
        victim = node.postmaster()
        victim.kill()
        await ended([victim])
        await writer.wrote()
        await writer.close()
        assert (await node.until(lambda status: status.writable)).epoch == 1


async def test_an_older_epoch_is_refused_also_after_a_restart(start_fleet: StartFleet) -> None:
    node = await primary(start_fleet)
    await node.order(7, Role.DETACHED)
    node.kill()
    await node.start()
    with pytest.raises(StaleError):
        await node.order(6, Role.PRIMARY)
    with pytest.raises(StaleError):
        await node.lease(6, 5.0)
    status = await node.until(lambda status: status.settled)
    assert (status.epoch, status.role) == (7, Role.DETACHED)
    # Another role in the same epoch is no older order.
    await node.order(7, Role.STOPPED)
    await node.until(lambda status: status.settled and status.role is Role.STOPPED)


async def test_deposing_a_primary_ends_its_sessions_and_its_lease_is_worth_nothing(
    start_fleet: StartFleet,
) -> None:
    node = await primary(start_fleet)
    await node.lease(1, 60.0)
    await lead(node)
    async with await node.connect() as connection:
        await node.settle(2, Role.DETACHED)
        with pytest.raises(psycopg.OperationalError):
            await connection.execute("INSERT INTO payment DEFAULT VALUES")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await node.execute("INSERT INTO payment DEFAULT VALUES")
    await node.order(2, Role.PRIMARY, revision=1)
    status = await node.until(lambda status: status.activity == "waiting for a lease")
    assert not status.writable


async def test_only_its_own_regions_agent_and_the_operator_are_served(start_fleet: StartFleet) -> None:
    (node,) = await start_fleet("eu-west")
    fleet = node._fleet.identities
    for directory in (fleet.agent("eu-west"), fleet.operator()):
        async with InstanceManager(node.url, directory, APP, node.region) as client:
            assert (await client.status(timeout_s=CALL_S)).epoch == 0
    async with InstanceManager(node.url, fleet.agent(ELSEWHERE), APP, node.region) as client:
        with pytest.raises(InstanceUnavailableError, match="403"):
            await client.status(timeout_s=CALL_S)


async def test_identities_of_other_purposes_are_refused(start_fleet: StartFleet) -> None:
    (node,) = await start_fleet("eu-west")
    fleet = node._fleet.identities
    here, stranger = fleet.made.regions["eu-west"], identity.create("test", {"eu-west": 1})
    refused = {
        "itself": fleet.made.instance(APP, "eu-west"),
        "another-application": fleet.made.instance("shop", "eu-west"),
        "gateway": here.gateway,
        "store-client": here.store_client,
        "store-member": here.store_member,
        "cluster": here.cluster,
        "another-fleet": stranger.regions["eu-west"].agent,
    }
    for name, files in refused.items():
        directory = fleet.put(f"refused-{name}", {**files, INSTANCE_CA: fleet.made.operator[INSTANCE_CA]})
        async with InstanceManager(node.url, directory, APP, node.region) as client:
            with pytest.raises(InstanceUnavailableError) as caught:
                await client.status(timeout_s=CALL_S)
        # Refused by TLS: no request was read.
        assert "answered" not in str(caught.value), name
    async with InstanceManager(node.url, fleet.agent(ELSEWHERE), APP, node.region) as client:
        with pytest.raises(InstanceUnavailableError, match="403"):
            await client.status(timeout_s=CALL_S)
    async with InstanceManager(node.url, fleet.agent("eu-west"), APP, node.region) as client:
        await client.status(timeout_s=CALL_S)
        # Its own region's agent puts them into its metrics.
        assert set(client.refused) == {"wrong-authority", "not-permitted"}
        # A client may try more than once.
        assert client.refused["wrong-authority"] >= len(refused)


async def test_an_agent_asks_the_manager_of_that_application_and_region_only(start_fleet: StartFleet) -> None:
    (node,) = await start_fleet("eu-west")
    agent = node._fleet.identities.agent("eu-west")
    for app, region in (("shop", "eu-west"), (APP, ELSEWHERE)):
        async with InstanceManager(node.url, agent, App(app), Region(region)) as client:
            with pytest.raises(InstanceUnavailableError, match="ertificate"):
                await client.status(timeout_s=CALL_S)


@pytest.mark.parametrize("mode", ["plain", "namespace"])
async def test_a_command_ends_with_the_process_that_started_it(mode: str) -> None:
    starter = (
        "import os, subprocess, sys, time\n"
        "command = [sys.executable, '-c', 'import time; time.sleep(60)']\n"
        "from leeward.kit.kernel import enter_user_namespace\n"
        "os.geteuid() or enter_user_namespace(new_pids=False)\n"
        "init = [sys.executable, '-m', 'leeward.instance.postgres.init', str(os.getpid()), sys.argv[1], '0']\n"
        "subprocess.Popen(init + command)\n"
        "time.sleep(60)\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", starter, mode)
    try:
        started = psutil.Process(parent.pid)
        depth = 2 if mode == "plain" else 3
        await until(lambda: len(started.children(recursive=True)) >= depth)
        below = started.children(recursive=True)
    finally:
        parent.kill()
        await parent.wait()
    await ended(below)
