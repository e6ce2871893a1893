"""A whole agent but for its database and gateway: who may ask it what, over real mTLS, and what it answers."""

import asyncio
import contextlib
import functools
import re
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from leeward.agent.machine.machine import Machine
from leeward.agent.runtime.api import CHANGING, FORWARDED, application
from leeward.agent.runtime.authorization import HEADER, Signer, Verifier
from leeward.agent.runtime.peers import HttpPeers
from leeward.agent.runtime.runtime import Runtime
from leeward.agent.services.conditions import Conditions
from leeward.agent.services.deep_health import DeepHealths
from leeward.core import keys
from leeward.core.codec import encode
from leeward.core.conditions.values import Type
from leeward.core.identities import CA, Grant, Right
from leeward.core.values import App, LastDrill, Promise, WalPosition
from leeward.kit.http import tls
from leeward.kit.http.client_tls import client_context
from leeward.kit.http.refusals import Refusals
from leeward.ports.clock import SystemClock
from leeward.ports.gateway import Address, Carried, Exported, Route
from leeward.ports.quorum import Put
from leeward.sim.quorum import MemoryQuorum, MemoryStore
from leeward.world import identity
from tests.agent.machine.test_machine import FLEET, settings
from tests.core.views import AP, APP, EU, REGIONS, TIMERS, US, electing, topology
from tests.kit import waiting

LEASE_S = 60.0

until = functools.partial(waiting.until, within_s=20, every_s=0.01)


@dataclass
class Told:
    """A gateway that remembers what it was told."""

    routes: list[tuple[Route, ...]] = field(default_factory=list)

    async def apply(self, routes: tuple[Route, ...], services: tuple[Exported, ...] = (), *, timeout_s: float) -> None:
        self.routes.append(routes)

    async def carried(self, *, timeout_s: float) -> Mapping[App, Carried]:
        return {}

    async def users_problem(self, *, timeout_s: float) -> str | None:
        return None


class OnePod:
    async def ready(self, app: App) -> AsyncIterator[tuple[Address, ...]]:
        yield (Address("10.0.0.1", 8000),)
        await asyncio.Event().wait()


@dataclass
class Answer:
    status: int
    body: dict[str, Any]


def signed_by(directory: Path, path: str, body: bytes, at_unix_s: float | None = None) -> dict[str, str]:
    """Sign a request, now unless told otherwise."""
    signer, nonce = Signer(directory), secrets.token_hex(8)
    if at_unix_s is None:
        at_unix_s = time.time()
    return signer.authorize("POST", path, body, at_unix_s=at_unix_s, nonce=nonce)


@dataclass
class Agent:
    runtime: Runtime
    store: MemoryQuorum
    gateway: Told
    peers: HttpPeers
    url: str
    directory: Path
    routes: frozenset[tuple[str, str]]
    """Method and path of everything that it answers."""

    @contextlib.asynccontextmanager
    async def session(self, name: str | None) -> AsyncIterator[aiohttp.ClientSession]:
        """A client that shows the certificate of ``name``, or none."""
        if name is None:
            context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        else:
            context = client_context(self.directory / name)
        async with aiohttp.ClientSession(self.url, connector=aiohttp.TCPConnector(ssl=context)) as session:
            yield session

    async def ask(self, path: str, body: bytes = b"", *, by: str = "operator", over: str = "operator") -> Answer:
        """POST what ``by`` signed, over a connection of ``over``."""
        signed = signed_by(self.directory / by, path, body)
        return await self.post(path, body, signed, over=over)

    async def post(self, path: str, body: bytes, headers: Mapping[str, str], *, over: str = AP) -> Answer:
        connected = self.session(over)
        async with connected as session, session.post(path, data=body, headers=headers, server_hostname=EU) as response:
            return Answer(response.status, await response.json())

    async def refused(self) -> dict[str, float]:
        """What the metrics say of refused clients, by labels."""
        async with self.session("operator") as session, session.get("/metrics", server_hostname=EU) as response:
            found = re.findall(r"^leeward_clients_refused_total(\S+) (\S+)$", await response.text(), re.MULTILINE)
        return {labels: float(count) for labels, count in found}


def write_identity(directory: Path) -> None:
    issued = identity.create(FLEET, {region: number for number, region in enumerate(REGIONS, start=1)})
    (directory / CA).write_text(issued.operator[CA])
    identity.put(directory / "operator", issued.operator)
    for name, each in issued.regions.items():
        identity.put(directory / name, each.agent)
    for right in Right:
        identity.put(directory / right, issued.operator_of(right, [Grant(APP, right)]))
    identity.put(directory / "stranger", issued.operator_of("stranger", [Grant("another", None)]))


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    write_identity(tmp_path)
    store = MemoryStore(REGIONS).member(EU)
    await store.transact((), (Put(keys.topology(FLEET, APP), encode(topology())),), timeout_s=1)
    gateway = Told()
    async with contextlib.AsyncExitStack() as stack:
        peers = await stack.enter_async_context(HttpPeers(EU, (), tls.client(tmp_path / EU)))
        # A lease must not end because the tests' process is not scheduled for a while; nothing here lets one end.
        leased = replace(settings(EU), timers=replace(TIMERS, lease_s=LEASE_S))
        runtime = Runtime(
            Machine(leased, "a"),
            clock=SystemClock(),
            quorum=store,
            databases={},
            gateway=gateway,
            peers=_Silent(),
            pods=OnePod(),
        )
        session = await stack.enter_async_context(aiohttp.ClientSession())
        machine = runtime.machine
        conditions = Conditions(machine, runtime.clock, runtime.changes)
        deep = DeepHealths(machine.settings.apps, machine.apps, session, runtime.clock, runtime.changes)
        verifier = Verifier(FLEET, tmp_path / "ca.crt")
        served = application(runtime, peers, conditions, deep, verifier, Refusals("agent"))
        runner = web.AppRunner(served, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls.server(tmp_path / EU)()).start()
        running = asyncio.create_task(runtime.run())
        url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        routes = frozenset(
            (route.method, route.resource.canonical) for route in served.router.routes() if route.resource is not None
        )
        built = Agent(runtime, store, gateway, peers, url, tmp_path, routes)
        try:
            await until(lambda: bool(gateway.routes) and machine.lease_until_s > 0 and EU in machine.store.seen)
            yield built
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def _knows(drills: Mapping[App, LastDrill], name: str) -> bool:
    return APP in drills and drills[APP].drill == name


class _Silent:
    async def vantage(self, region: str, *, timeout_s: float) -> Any:
        await asyncio.Event().wait()

    async def send_promise(self, region: str, promise: Promise, *, timeout_s: float) -> None:
        return


async def test_it_reads_the_store_beats_and_routes(agent: Agent) -> None:
    async with agent.session("operator") as session, session.get("/v1/status", server_hostname=EU) as response:
        body = await response.json()
    assert body["topologies"][APP]["primary"] == US
    assert body["answered"] == [EU]
    assert body["lease_left_s"] > 0
    assert {"revision", "age_s", "heartbeats", "vantages", "because", "pods_ready"} <= set(body)
    assert agent.gateway.routes[-1][0].primary == US


async def test_no_request_is_accepted_without_a_certificate(agent: Agent) -> None:
    async with agent.session(None) as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get("/v1/status", server_hostname=EU)


PAUSE = f"/v1/apps/{APP}/pause"
VERBS = {
    "switchover": b'{"to": "eu", "dry_run": true}',
    "failover": b'{"to": "eu", "dry_run": true}',
    "mode": b'{"mode": "sync"}',
    "pause": b"",
    "resume": b"",
    "drill": encode(LastDrill("region-loss", "async", "passed", 1000.0)).encode(),
}


async def test_every_route_reads_or_promises_or_needs_an_operator(agent: Agent) -> None:
    changing = {(method, path) for method, path in agent.routes if method not in ("GET", "HEAD")}
    assert {path for method, path in changing if method not in CHANGING} == {"/v1/promises"}
    asked = {"/v1/apps/{app}/drill", "/v1/apps/{app}/{verb}"}
    assert {path for method, path in changing if method in CHANGING} == asked


@pytest.mark.parametrize("verb", VERBS)
async def test_what_another_agent_passes_on_takes_effect_with_the_operators_signature_only(
    agent: Agent, verb: str
) -> None:
    path, body = f"/v1/apps/{APP}/{verb}", VERBS[verb]
    for forged in ({}, signed_by(agent.directory / AP, path, body)):
        answer = await agent.post(path, body, forged | {FORWARDED: AP})
        assert (answer.status, answer.body["code"]) == (403, "not-the-operator")
    answer = await agent.post(path, body, signed_by(agent.directory / "operator", path, body) | {FORWARDED: AP})
    assert answer.status in (200, 409), answer.body


@pytest.mark.parametrize("verb", VERBS)
async def test_each_verb_takes_its_right(agent: Agent, verb: str) -> None:
    needed = Right.BREAK if verb in ("failover", "mode", "drill") else Right.STEER
    path, body = f"/v1/apps/{APP}/{verb}", VERBS[verb]
    for other in set(Right) - {needed}:
        with capture_logs() as logs:
            answer = await agent.ask(path, body, by=other, over=other)
        assert (answer.status, answer.body["code"]) == (403, "not-allowed")
        assert f"{other}:" in answer.body["because"]
        assert [(line["event"], line["by"]) for line in logs] == [("request refused", other)]
    answer = await agent.post(path, body, signed_by(agent.directory / needed, path, body) | {FORWARDED: AP})
    assert answer.status in (200, 409), answer.body
    answer = await agent.ask(f"/v1/apps/another/{verb}", body, by=needed, over=needed)
    assert (answer.status, answer.body["code"]) == (403, "not-allowed")


@pytest.mark.parametrize(
    ("name", "sees"), [(AP, True), ("operator", True), *((right, True) for right in Right), ("stranger", False)]
)
async def test_an_operator_sees_the_applications_of_its_certificate_only(agent: Agent, name: str, sees: bool) -> None:
    await until(lambda: APP in agent.runtime.machine.apps)
    async with agent.session(name) as session:
        for path in ("/v1/status", "/v1/records", "/metrics"):
            async with session.get(path, server_hostname=EU) as response:
                text = await response.text()
            assert response.status == 200
            assert sees or APP not in text, text
            # What is about no application is for everybody.
            assert path == "/v1/records" or "leeward" in text
        async with session.get("/v1/status", server_hostname=EU) as response:
            assert (APP in (await response.json())["topologies"]) is sees


async def test_a_regions_certificate_alone_changes_nothing(agent: Agent) -> None:
    async with agent.session(AP) as session, session.get("/v1/vantage", server_hostname=EU) as response:
        assert (await response.json())["serving"] is True
    before = agent.runtime.machine.store.topologies[APP]
    for verb in ("switchover", "failover", "mode", "pause", "resume", "drill"):
        with capture_logs() as logs:
            for headers in ({}, {FORWARDED: AP}):
                answer = await agent.post(f"/v1/apps/{APP}/{verb}", b"{}", headers)
                assert (answer.status, answer.body["code"]) == (403, "not-the-operator")
        # Once a minute: whoever repeats it fills no log.
        assert [(line["event"], line["by"]) for line in logs] == [("request refused", AP)]
    assert await agent.refused() == {'{reason="not-permitted",server="agent"}': 12}
    assert agent.runtime.machine.store.topologies[APP] == before


@pytest.mark.parametrize(
    ("forged", "because"),
    [
        pytest.param(lambda at, _: signed_by(at / AP, PAUSE, b""), "not an operator", id="signed by a region"),
        pytest.param(lambda at, _: signed_by(at / "operator", PAUSE, b"{}"), "does not match", id="another body"),
        pytest.param(
            lambda at, _: signed_by(at / "operator", f"/v1/apps/{APP}/resume", b""), "does not match", id="another path"
        ),
        pytest.param(
            lambda at, now_s: signed_by(at / "operator", PAUSE, b"", now_s - 120), "signed 120 s ago", id="expired"
        ),
        pytest.param(
            lambda at, now_s: signed_by(at / "operator", PAUSE, b"", now_s + 120),
            "signed -120 s ago",
            id="of the future",
        ),
        pytest.param(
            lambda at, _: signed_by(at / "operator", PAUSE, b"", float("nan")), "cannot be read", id="at no time at all"
        ),
        pytest.param(lambda at, _: {HEADER: "x"}, "cannot be read", id="no authorization at all"),
    ],
)
async def test_a_forged_authorization_is_refused_and_logged(
    agent: Agent, forged: Callable[[Path, float], dict[str, str]], because: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How old it is does not depend on how long it is on its way.
    now_s = time.time()
    monkeypatch.setattr(agent.runtime.clock, "unix_s", lambda: now_s)
    with capture_logs() as logs:
        answer = await agent.post(PAUSE, b"", forged(agent.directory, now_s) | {FORWARDED: AP})
    assert (answer.status, answer.body["code"]) == (403, "not-the-operator")
    assert because in answer.body["because"]
    assert [(line["event"], line["log_level"], line["by"], line["path"]) for line in logs] == [
        ("request refused", "warning", AP, PAUSE)
    ]
    assert not agent.runtime.machine.store.topologies[APP].topology.paused


async def test_a_replayed_request_is_refused(agent: Agent) -> None:
    headers = signed_by(agent.directory / "operator", PAUSE, b"")
    assert (await agent.post(PAUSE, b"", headers)).status == 200, "another region may pass it on"
    answer = await agent.post(PAUSE, b"", headers)
    assert (answer.status, answer.body["because"]) == (
        403,
        "request refused: it has already been used: sign each request separately",
    )


async def test_an_operators_request_is_answered_when_it_is_agreed_on(agent: Agent) -> None:
    answer = await agent.ask(PAUSE)
    assert (answer.status, answer.body["accepted"]) == (200, True)
    await until(lambda: agent.runtime.machine.store.topologies[APP].topology.paused)
    answer = await agent.ask(f"/v1/apps/{APP}/failover", b'{"to": "mars"}')
    assert answer.status == 409
    assert "has no replica" in answer.body["because"]
    assert (await agent.ask(f"/v1/apps/{APP}/mode", b'{"mode": "maybe"}')).status == 400
    async with agent.session("operator") as session:
        async with session.get("/v1/records", server_hostname=EU) as response:
            page = await response.json()
        (paused,) = [record for record in page["records"] if record["kind"] == "FailoverPaused"]
        assert re.fullmatch(r"operator:[0-9a-f]{12}", paused["asked_by"])
        async with session.get(f"/v1/records?after={page['next']}", server_hostname=EU) as response:
            assert (await response.json())["records"] == []


async def test_a_request_that_is_passed_on_carries_the_operators_authorization(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[tuple[str, str, str, Mapping[str, str]]] = []

    async def forward(
        region: str, path: str, body: str, headers: Mapping[str, str], *, timeout_s: float
    ) -> tuple[int, str]:
        passed.append((region, path, body, headers))
        return 200, "{}"

    monkeypatch.setattr(agent.peers, "forward", forward)
    path, body = f"/v1/apps/{APP}/switchover", b'{"to": "eu"}'
    signed = signed_by(agent.directory / "operator", path, body)
    assert (await agent.post(path, body, signed, over="operator")).status == 200
    ((region, *_, headers),) = passed
    assert (region, headers[HEADER]) == (US, signed[HEADER])
    executes = Verifier(FLEET, agent.directory / "ca.crt")
    _, to, text, _ = passed[0]
    asked = executes.verify(
        headers[HEADER], "POST", to, text.encode(), needs=Grant(APP, Right.STEER), now_unix_s=time.time()
    )
    assert asked.by.startswith("operator:")


async def test_a_region_promises_for_itself_only(agent: Agent) -> None:
    await agent.store.transact((), (Put(keys.topology(FLEET, APP), encode(electing())),), timeout_s=1)
    promise = encode(Promise(AP, APP, 2, WalPosition(1, 100)))
    for name in (US, "operator"):
        stranger = agent.session(name)
        async with stranger as session, session.put("/v1/promises", data=promise, server_hostname=EU) as response:
            assert response.status == 403
    async with agent.session(AP) as session:
        async with session.put("/v1/promises", data="{}", server_hostname=EU) as response:
            assert response.status == 400
        async with session.put("/v1/promises", data=promise, server_hostname=EU) as response:
            assert response.status == 204
    machine = agent.runtime.machine
    await until(lambda: set(machine.view(machine.apps[APP], 0.0).promises) == {AP})


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
    (settings,) = agent.runtime.machine.settings.apps
    assert body["objectives"] == {APP: {"rto_s": settings.rto_s, "rpo_s": settings.rpo_s}}


async def test_a_drill_is_kept_in_the_store_with_the_last_success(agent: Agent) -> None:
    drills = agent.runtime.machine.store.drills
    passed = LastDrill("region-loss", "async", "passed", 1000.0)
    failed = LastDrill("partition", "sync", "failed", 2000.0)
    drill_of = f"/v1/apps/{APP}/drill"
    for name, body, status in (("other", encode(passed), 404), (APP, "{}", 400)):
        assert (await agent.ask(f"/v1/apps/{name}/drill", body.encode())).status == status
    for drill in (passed, failed):
        assert (await agent.ask(drill_of, encode(drill).encode())).status == 200
        await until(functools.partial(_knows, drills, drill.drill))
    async with agent.session("operator") as session:
        assert drills[APP] == replace(failed, passed_at_unix_s=1000.0)
        async with session.get("/metrics", server_hostname=EU) as response:
            text = await response.text()
        assert 'leeward_drill_last_success_timestamp_seconds{application="payments"} 1000.0' in text
        assert 'leeward_condition{application="payments",status="False",type="LastDrillSucceeded"} 1.0' in text
