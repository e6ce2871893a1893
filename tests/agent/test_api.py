"""A whole agent but for its database and gateway: who may ask it what, over real mTLS, and what it answers."""

import asyncio
import contextlib
import functools
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from leeward.agent.api import application
from leeward.agent.command import _client_tls, _server_tls
from leeward.agent.conditions import Conditions
from leeward.agent.deep import DeepHealths
from leeward.agent.machine import Machine
from leeward.agent.peers import HttpPeers
from leeward.agent.runtime import Runtime
from leeward.core import keys
from leeward.core.codec import encode
from leeward.core.conditions.values import Type
from leeward.core.values import App, LastDrill, Promise, WalPosition
from leeward.ports.clock import SystemClock
from leeward.ports.gateway import Address, Exported, Route
from leeward.ports.quorum import Put
from leeward.sim.quorum import MemoryQuorum, MemoryStore
from leeward.world import identity
from tests.agent.test_machine import FLEET, settings
from tests.core.views import AP, APP, EU, REGIONS, US, electing, topology


@dataclass
class Told:
    """A gateway that remembers what it was told."""

    routes: list[tuple[Route, ...]] = field(default_factory=list)

    async def apply(self, routes: tuple[Route, ...], services: tuple[Exported, ...] = (), *, timeout_s: float) -> None:
        self.routes.append(routes)


class OnePod:
    async def ready(self, app: App) -> AsyncIterator[tuple[Address, ...]]:
        yield (Address("10.0.0.1", 8000),)
        await asyncio.Event().wait()


@dataclass
class Agent:
    runtime: Runtime
    store: MemoryQuorum
    gateway: Told
    url: str
    directory: Path

    @contextlib.asynccontextmanager
    async def session(self, name: str | None) -> AsyncIterator[aiohttp.ClientSession]:
        """A client that shows the certificate of ``name``, or none."""
        if name is None:
            tls = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        else:
            tls = _client_tls(self.directory / name)
        async with aiohttp.ClientSession(self.url, connector=aiohttp.TCPConnector(ssl=tls)) as session:
            yield session

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.01)


def write_identity(directory: Path) -> None:
    issued = identity.create(FLEET, {region: number for number, region in enumerate(REGIONS, start=1)})
    (directory / "ca.crt").write_text(issued.ca)
    for name, pair in (*issued.regions.items(), ("operator", issued.operator)):
        (directory / name).mkdir()
        (directory / name / "ca.crt").write_text(issued.ca)
        (directory / name / "tls.crt").write_text(pair.certificate)
        (directory / name / "tls.key").write_text(pair.key)


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    write_identity(tmp_path)
    store = MemoryStore(REGIONS).member(EU)
    await store.transact((), (Put(keys.topology(FLEET, APP), encode(topology())),), timeout_s=1)
    gateway = Told()
    async with contextlib.AsyncExitStack() as stack:
        peers = await stack.enter_async_context(HttpPeers(EU, (), _client_tls(tmp_path / EU)))
        runtime = Runtime(
            Machine(settings(EU), "a"),
            clock=SystemClock(),
            quorum=store,
            databases={},
            gateway=gateway,
            peers=_Silent(),
            pods=OnePod(),
        )
        session = await stack.enter_async_context(aiohttp.ClientSession())
        machine = runtime.machine
        conditions = Conditions(machine, runtime.clock)
        deep = DeepHealths(machine.settings.apps, machine.apps, session, runtime.clock)
        runner = web.AppRunner(application(runtime, peers, conditions, deep), access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=_server_tls(tmp_path / EU)).start()
        running = asyncio.create_task(runtime.run())
        built = Agent(runtime, store, gateway, f"https://127.0.0.1:{runner.addresses[0][1]}", tmp_path)
        try:
            await built.until(lambda: bool(gateway.routes) and runtime.machine.lease_until_s > 0)
            yield built
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def _knows(drills: Mapping[App, LastDrill], name: str) -> bool:
    return APP in drills and drills[APP].drill == name


class _Silent:
    async def vantage(self, region: str, *, timeout_s: float) -> Any:
        await asyncio.Event().wait()

    async def tell(self, region: str, promise: Promise, *, timeout_s: float) -> None:
        return


async def test_it_reads_the_store_beats_and_routes(agent: Agent) -> None:
    async with agent.session("operator") as session, session.get("/v1/status", server_hostname=EU) as response:
        body = await response.json()
    assert body["topologies"][APP]["primary"] == US
    assert body["answered"] == [EU]
    assert body["lease_left_s"] > 0
    assert {"revision", "age_s", "heartbeats", "vantages", "because", "pods_ready"} <= set(body)
    assert agent.gateway.routes[-1][0].primary == US


async def test_nobody_speaks_without_a_certificate(agent: Agent) -> None:
    async with agent.session(None) as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get("/v1/status", server_hostname=EU)


async def test_only_the_operator_changes_anything(agent: Agent) -> None:
    async with agent.session(AP) as session:
        async with session.post(f"/v1/apps/{APP}/pause", server_hostname=EU) as response:
            assert response.status == 403
            assert (await response.json())["code"] == "not-the-operator"
        async with session.get("/v1/vantage", server_hostname=EU) as response:
            assert (await response.json())["serving"] is True
    assert not agent.runtime.machine.store.topologies[APP].topology.paused


async def test_an_operators_request_is_answered_when_it_is_agreed_on(agent: Agent) -> None:
    async with agent.session("operator") as session:
        async with session.post(f"/v1/apps/{APP}/pause", server_hostname=EU) as response:
            assert (response.status, (await response.json())["accepted"]) == (200, True)
        await agent.until(lambda: agent.runtime.machine.store.topologies[APP].topology.paused)
        async with session.post(f"/v1/apps/{APP}/failover", json={"to": "mars"}, server_hostname=EU) as response:
            assert response.status == 409
            assert "has no replica" in (await response.json())["because"]
        async with session.post(f"/v1/apps/{APP}/mode", json={"mode": "maybe"}, server_hostname=EU) as response:
            assert response.status == 400
        async with session.get("/v1/records", server_hostname=EU) as response:
            page = await response.json()
        assert [record["kind"] for record in page["records"]].count("FailoverPaused") == 1
        async with session.get(f"/v1/records?after={page['next']}", server_hostname=EU) as response:
            assert (await response.json())["records"] == []


async def test_a_region_promises_for_itself_only(agent: Agent) -> None:
    await agent.store.transact((), (Put(keys.topology(FLEET, APP), encode(electing())),), timeout_s=1)
    promise = encode(Promise(AP, APP, 2, WalPosition(1, 100)))
    stranger = agent.session(US)
    async with stranger as session, session.put("/v1/promises", data=promise, server_hostname=EU) as response:
        assert response.status == 403
    async with agent.session(AP) as session:
        async with session.put("/v1/promises", data="{}", server_hostname=EU) as response:
            assert response.status == 400
        async with session.put("/v1/promises", data=promise, server_hostname=EU) as response:
            assert response.status == 204
    machine = agent.runtime.machine
    await agent.until(lambda: set(machine.view(machine.apps[APP]).promises) == {AP})


async def test_metrics_are_prometheus_text(agent: Agent) -> None:
    async with agent.session("operator") as session, session.get("/metrics", server_hostname=EU) as response:
        text = await response.text()
    assert 'leeward_primary{application="payments",region="us"} 1.0' in text
    assert 'leeward_epoch{application="payments"} 1.0' in text
    assert "leeward_lease_remaining_seconds" in text
    assert re.search(r'leeward_build_info{version="[^"]+"} 1.0', text)
    assert 'leeward_condition{application="payments",status="True",type="QuorumAvailable"} 1.0' in text
    assert 'leeward_condition{application="payments",status="False",type="QuorumAvailable"} 0.0' in text
    assert "leeward_drill_last_success_timestamp_seconds{" not in text, "nothing is made up"


async def test_conditions_are_all_there_from_the_first_look(agent: Agent) -> None:
    async with agent.session("operator") as session, session.get("/v1/status", server_hostname=EU) as response:
        body = await response.json()
    found = body["conditions"][APP]
    assert [each["type"] for each in found] == list(Type)
    for each in found:
        assert each.keys() == {"type", "status", "reason", "message", "lastTransitionTime", "observedGeneration"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", each["lastTransitionTime"])
    assert body["last_failovers"] == {APP: None}
    assert (body["drills"], body["deep"]) == ({}, {})


async def test_a_drill_is_kept_in_the_store_with_the_last_success(agent: Agent) -> None:
    drills = agent.runtime.machine.store.drills
    passed = LastDrill("region-loss", "async", "passed", 1000.0)
    failed = LastDrill("partition", "sync", "failed", 2000.0)
    stranger, drill_of = agent.session(AP), f"/v1/apps/{APP}/drill"
    async with stranger as session, session.post(drill_of, data=encode(passed), server_hostname=EU) as response:
        assert response.status == 403, "only the operator says how a drill ended"
    async with agent.session("operator") as session:
        for name, body, status in (("other", encode(passed), 404), (APP, "{}", 400)):
            async with session.post(f"/v1/apps/{name}/drill", data=body, server_hostname=EU) as response:
                assert response.status == status
        for drill in (passed, failed):
            async with session.post(drill_of, data=encode(drill), server_hostname=EU) as response:
                assert response.status == 200
            await agent.until(functools.partial(_knows, drills, drill.drill))
        assert drills[APP] == replace(failed, passed_at_unix_s=1000.0)
        async with session.get("/metrics", server_hostname=EU) as response:
            text = await response.text()
        assert 'leeward_drill_last_success_timestamp_seconds{application="payments"} 1000.0' in text
        assert 'leeward_condition{application="payments",status="False",type="LastDrillSucceeded"} 1.0' in text
