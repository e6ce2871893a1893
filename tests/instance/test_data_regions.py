"""A third region joins two, and another one leaves: the shipped decisions drive real instances with PostgreSQL."""

import asyncio
import inspect
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from leeward.agent.machine.application import Application
from leeward.core import failover, replication, timers
from leeward.core.actions import Propose
from leeward.core.values import Heartbeat, Phase, Region, ReplicationMode, Role, Topology
from leeward.core.view import Seen, View
from leeward.ports.database import InstanceUnavailableError
from tests.core.views import SETTINGS
from tests.instance.conftest import StartFleet
from tests.instance.instances import CALL_S, Node, boot_s
from tests.instance.test_lined_up import ask
from tests.kit.waiting import until

pytestmark = pytest.mark.engine

A, B, C = Region("us-east-1"), Region("europe-west1"), Region("japaneast")
# Long enough for a busy machine; nothing here fails over.
TIMERS = timers.derive(3.0)
TURN_S = 0.1
LONG_S = 180.0


class Agents:
    """What the agents would do, in turn: order every instance by the topology, feed the primary's lease, decide."""

    def __init__(self, nodes: tuple[Node, ...], topology: Topology) -> None:
        self.nodes = {node.region: node for node in nodes}
        self.apps = {region: Application(SETTINGS) for region in self.nodes}
        self.topology = topology
        self.declared = topology.data_regions
        self.kinds = list[str]()
        self._revision = 1
        self._seen_at_s = boot_s()

    async def until_in_force(self, *data_regions: Region) -> None:
        """Let the files name these data regions, and go on until they are in force."""
        self.declared = data_regions
        await self.until(
            lambda: self.topology.data_regions == data_regions and self.topology.phase is Phase.STEADY,
            f"data regions {data_regions} are in force",
        )

    async def until(self, look: Callable[[], object], what: str) -> None:
        """Turn until a condition holds."""

        async def turned() -> object:
            found = look()
            found = await found if inspect.isawaitable(found) else found
            if not found:
                await self.turn()
            return found

        await until(turned, what, within_s=LONG_S, every_s=TURN_S)

    async def turn(self) -> None:
        """Look at every instance once, and act on what is seen."""
        for region, node in self.nodes.items():
            with suppress(InstanceUnavailableError):
                self.apps[region].report_instance(await node.client.status(timeout_s=CALL_S), boot_s())
        for region in self.nodes:
            await self._order(region)
        assert self.topology.primary is not None
        decision = failover.decide(self.view(self.topology.primary))
        for action in decision.actions:
            if isinstance(action, Propose):
                self.topology, self._revision, self._seen_at_s = action.topology, self._revision + 1, boot_s()
                self.kinds += [note.kind for note in action.notes]

    async def _order(self, region: Region) -> None:
        node, app, wanted = self.nodes[region], self.apps[region], replication.order(self.view(region))
        with suppress(InstanceUnavailableError):
            if wanted is not None and app.instance is not None and app.instance.order != wanted:
                basis = await node.basis(self._revision)
                await node.client.order(wanted, basis=basis, timeout_s=CALL_S)
            if region == self.topology.primary:
                await node.lease(self.topology.epoch, TIMERS.lease_s)

    def view(self, me: Region) -> View:
        now_s = boot_s()
        seen = {
            region: Seen(Heartbeat(region, "a", 1, 0, {}, {SETTINGS.name: app.report(now_s)}), 1, now_s)
            for region, app in self.apps.items()
        }
        return View(
            now_s=now_s,
            me=me,
            regions=tuple(self.nodes),
            app=replace(SETTINGS, data_regions=self.declared),
            timers=TIMERS,
            topology=self.topology,
            topology_revision=self._revision,
            topology_seen_at_s=self._seen_at_s,
            seen=seen,
            instance=self.apps[me].instance,
            lease_until_s=now_s + TIMERS.lease_s,
            lags_s=self.apps[me].lags_s(now_s),
            declared=self.declared,
        )


def slots(*regions: Region) -> list[tuple[object, ...]]:
    return [(region.replace("-", "_"),) for region in sorted(regions)]


SLOTS = "SELECT slot_name FROM pg_replication_slots ORDER BY 1"


@pytest.mark.timeout(600)
async def test_a_third_region_joins_and_is_counted_and_then_one_leaves(start_fleet: StartFleet) -> None:
    nodes = a, b, c = await start_fleet(A, B, C)
    founded = Topology(SETTINGS.name, 1, Phase.PROMOTING, A, (A, B), ReplicationMode.QUORUM, 1, "founded")
    agents = Agents(nodes, founded)
    await agents.until_in_force(A, B)
    await a.execute("CREATE TABLE payment (id int PRIMARY KEY)")
    await a.execute("INSERT INTO payment VALUES (1)")

    async def b_stopped() -> bool:
        return (await b.client.status(timeout_s=CALL_S)).role is Role.STOPPED

    async def slots_follow() -> bool:
        return await ask(a, SLOTS) == slots(C) and await ask(c, SLOTS) == slots(A)

    stopped = await c.client.status(timeout_s=CALL_S)
    assert (stopped.role, stopped.wal) == (Role.STOPPED, None), "no data region yet"
    assert await ask(a, SLOTS) == slots(B)

    await agents.until_in_force(A, B, C)
    assert agents.kinds[-2:] == ["DataRegionJoining", "DataRegionJoined"]
    assert await ask(c, "SELECT id FROM payment") == [(1,)]
    await agents.turn()
    await c.until(lambda status: status.settled and status.upstream == A)
    assert agents.topology.acks_required == 1

    await agents.until_in_force(A, C)
    assert agents.kinds[-2:] == ["DataRegionLeaving", "DataRegionLeft"]
    await agents.until(b_stopped, "the manager of B stops")
    await agents.until(slots_follow, "each of the other two has a slot for the other")
    write = asyncio.create_task(a.execute("INSERT INTO payment VALUES (2)"))
    await agents.until(write.done, "a write is acknowledged")
    await write
    names = await ask(a, "SHOW synchronous_standby_names")
    assert C in str(names)
    assert B not in str(names)
    assert (b.root / "volume" / "pgdata").is_dir(), "its data stays"
