"""One region's part in exported services, on a cluster of which a namespace cannot be read."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from leeward.agent.machine import events as on
from leeward.agent.machine.exports import Name, Offer, Offers
from leeward.agent.machine.machine import Machine
from leeward.agent.runtime.changes import Changes
from leeward.agent.services import exports as module
from leeward.agent.services.exports import Exporting
from leeward.core import keys
from leeward.core.codec import decode, encode
from leeward.core.values import Vantage
from leeward.ports.clock import SystemClock
from leeward.ports.cluster import ENDPOINTS, SERVICE_EXPORTS, KubeObject, RejectedError, Resource
from leeward.ports.gateway import Exported
from leeward.ports.quorum import Put
from leeward.sim.quorum import MemoryQuorum, MemoryStore
from tests.agent.machine.test_machine import FLEET, settings
from tests.core.views import AP, DOWN, EU, REGIONS, UP, US
from tests.kit import waiting

KEY = keys.offers(FLEET, EU)
LEDGER, REPORTS = Name("bank", "ledger"), Name("shop", "reports")


def _named(name: Name, **more: Any) -> KubeObject:
    return {"metadata": {"name": name.name, "namespace": name.namespace, "resourceVersion": "1"}, **more}


@dataclass
class Cluster:
    """Exports ``reports`` in ``shop``; whoever looks into ``bank``, or writes a status into ``slow``, is refused."""

    written: list[str] = field(default_factory=list)

    async def list(self, resource: Resource, *, namespace: str, timeout_s: float) -> Any:
        if namespace == LEDGER.namespace:
            raise RejectedError("forbidden")
        subsets = [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 8000}]}]
        name = Name(namespace, REPORTS.name)
        items = {SERVICE_EXPORTS: [_named(name)], ENDPOINTS: [_named(name, subsets=subsets)]}
        return SimpleNamespace(items=items.get(resource, []), resource_version="1")

    async def watch(self, resource: Resource, **_: object) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield

    async def patch(self, resource: Resource, name: str, body: KubeObject, *, namespace: str, **_: object) -> None:
        if namespace == "slow":
            raise RejectedError("forbidden")
        self.written.append(namespace)


class Noting(Changes):
    """Notes for how long somebody waits at most."""

    def __init__(self) -> None:
        super().__init__()
        self.within_s: list[float | None] = []

    async def after(self, version: int, *, within_s: float | None = None) -> int:
        self.within_s.append(within_s)
        return await super().after(version, within_s=within_s)


@dataclass
class Gateway:
    serves: tuple[Exported, ...] = ()
    changes: Changes = field(default_factory=Noting)

    def serve(self, services: tuple[Exported, ...]) -> None:
        self.serves = services


until = partial(waiting.until, within_s=20, every_s=0.001)


@pytest.fixture
def store() -> MemoryQuorum:
    return MemoryStore(REGIONS).member(EU)


async def test_a_namespace_that_cannot_be_read_or_written_holds_up_no_other(
    store: MemoryQuorum, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REFUSED_RETRY_S", 600.0)
    monkeypatch.setattr(module, "UNREAD_S", 0.5)
    before = Offers((Offer(LEDGER, True),))
    await store.transact((), (Put(KEY, encode(before)),), timeout_s=1)
    cluster, gateway = Cluster(), Gateway()
    namespaces = ("slow", LEDGER.namespace, REPORTS.namespace)
    part: Any = (Machine(settings(EU), "a"), gateway, SystemClock(), cluster, store, namespaces)
    exporting = Exporting(*part)
    running = asyncio.create_task(exporting.run())
    try:
        await until(lambda: len(gateway.serves) == 2)
        await until(lambda: REPORTS.namespace in cluster.written)

        async def offered() -> set[Name]:
            found = await store.snapshot(KEY, timeout_s=1)
            return {offer.service for offer in decode(Offers, found.entries[KEY].value).services}

        everything = {LEDGER, REPORTS, Name("slow", REPORTS.name)}
        await until(offered, accept=lambda found: found == everything)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [each.name for each in gateway.serves] == [REPORTS.name, REPORTS.name]


async def test_routes_leave_an_exporter_as_soon_as_it_looks_lost_and_nothing_is_looked_at_on_a_timer(
    store: MemoryQuorum,
) -> None:
    offers = Offers((Offer(REPORTS, True),))
    for region in (US, AP):
        await store.transact((), (Put(keys.offers(FLEET, region), encode(offers)),), timeout_s=1)
    gateway, machine, changes = Gateway(), Machine(settings(EU), "a"), Noting()
    gateway.changes = changes

    def looks(vantage: Vantage) -> None:
        for _ in range(2):  # one failure is a hiccup
            machine.handle(on.Probed(US, vantage), SystemClock().now_s(), 0.0)
            machine.handle(on.Probed(AP, UP), SystemClock().now_s(), 0.0)
        changes.publish()

    looks(UP)
    part: Any = (machine, gateway, SystemClock(), Cluster(), store, (REPORTS.namespace,))
    running = asyncio.create_task(Exporting(*part).run())
    try:
        await until(lambda: [US in each.fallbacks for each in gateway.serves] == [True])
        looks(DOWN)
        await until(lambda: [US in each.fallbacks for each in gateway.serves] == [False])
        assert machine.timers.heartbeat_s not in changes.within_s
        looks(UP)
        await until(lambda: changes.within_s[-1] == machine.timers.heartbeat_s)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
