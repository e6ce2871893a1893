"""The operator's client against agents that speak TLS as the real ones do."""

import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from leeward.agent.runtime.authorization import HEADER, Verifier
from leeward.core.codec import plain
from leeward.core.identities import Grant
from leeward.core.values import Phase, Record, ReplicationMode, Topology
from leeward.drill import agents as asking
from leeward.drill.access import FleetUnavailableError, RefusedError
from leeward.drill.agents import HttpFleet
from leeward.world import identity

from .builders import APP, EU, JP, US

TOPOLOGY = Topology(APP, 3, Phase.STEADY, US, (US, EU), ReplicationMode.SYNC, 1, "all is well")
RECORDS = [(5, Record(1.0, US, APP, 2, "PrimaryElected", "a")), (9, Record(2.0, EU, APP, 3, "PrimaryPromoted", "b"))]


class Agent:
    """Answers as agent/runtime/api.py does, for one region."""

    def __init__(self, region: str, revision: int, *, accepts: bool = True) -> None:
        self.region = region
        self.revision = revision
        self.accepts = accepts
        self.asked: list[tuple[str, Any]] = []
        self.url = ""
        self.verifier: Verifier | None = None
        self._runner: web.AppRunner | None = None

    async def open(self, directory: Path) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(directory / "ca.crt"))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(directory / self.region / "tls.crt", directory / self.region / "tls.key")
        self.verifier = Verifier("atlas", directory / "ca.crt")
        app = web.Application()
        app.router.add_get("/v1/status", self._status)
        app.router.add_get("/v1/records", self._records)
        app.router.add_post("/v1/apps/{app}/{verb}", self._change)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _status(self, _: web.Request) -> web.Response:
        body = {
            "region": self.region,
            "revision": self.revision,
            "age_s": 0.1,
            "answered": [US, EU],
            "quorum_leader": EU,
            "topologies": {APP: plain(TOPOLOGY)},
            "because": {APP: "nothing to do"},
            "heartbeats": {},
        }
        return web.json_response(body)

    async def _records(self, request: web.Request) -> web.Response:
        after = int(request.query["after"])
        found = [(revision, record) for revision, record in RECORDS if after < revision <= self.revision]
        last = max([after, *(revision for revision, _ in found)])
        return web.json_response({"records": [plain(record) for _, record in found], "next": last})

    async def _change(self, request: web.Request) -> web.Response:
        assert self.verifier is not None
        body, header = await request.read(), request.headers[HEADER]
        self.verifier.verify(header, "POST", request.path_qs, body, needs=Grant(), now_unix_s=time.time())
        self.asked.append((request.path, await request.json()))
        if self.accepts:
            return web.json_response({"accepted": True, "because": "it begins"})
        return web.json_response({"accepted": False, "because": "the standby lags"}, status=409)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who answers late on a busy machine answers all the same."""
    monkeypatch.setattr(asking, "READ_TIMEOUT_S", 30.0)
    monkeypatch.setattr(asking, "CHANGE_TIMEOUT_S", 30.0)
    monkeypatch.setattr(asking, "GRACE_S", 30.0)


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    made = identity.create("atlas", {US: 1, EU: 2})
    (tmp_path / "ca.crt").write_text(made.operator["ca.crt"])
    identity.put(tmp_path / "operator", made.operator)
    for name, each in made.regions.items():
        identity.put(tmp_path / name, each.agent)
    return tmp_path


@pytest.fixture
async def agents(certificates: Path) -> AsyncIterator[tuple[Agent, Agent]]:
    us, eu = Agent(US, 8), Agent(EU, 9)
    for agent in (us, eu):
        await agent.open(certificates)
    yield us, eu
    for agent in (us, eu):
        await agent.close()


@pytest.fixture
async def fleet(agents: tuple[Agent, Agent], certificates: Path) -> AsyncIterator[HttpFleet]:
    us, eu = agents
    async with HttpFleet({US: us.url, EU: eu.url}, certificates / "operator") as client:
        yield client


async def test_the_freshest_view_wins(fleet: HttpFleet) -> None:
    view = await fleet.view()
    assert (view.source, view.revision, view.quorum_leader) == (EU, 9, EU)
    assert view.topologies == {APP: TOPOLOGY}
    assert view.answered == {US, EU}
    assert (await fleet.view(US)).source == US


async def test_records_go_on_from_the_cursor(fleet: HttpFleet) -> None:
    everything = tuple(record for _, record in RECORDS)
    assert await fleet.records(0) == (everything, 9)
    assert await fleet.records(5) == (everything[1:], 9)
    assert await fleet.records(9) == ((), 9)


async def test_another_agent_answers_for_a_dead_one(fleet: HttpFleet, agents: tuple[Agent, Agent]) -> None:
    us, eu = agents
    await us.close()
    assert (await fleet.view()).source == EU
    assert await fleet.switchover(APP, EU) == "it begins"
    assert eu.asked == [("/v1/apps/payments/switchover", {"to": "eu"})]
    await eu.close()
    with pytest.raises(FleetUnavailableError, match="no answer from the agents of us, eu"):
        await fleet.view()
    with pytest.raises(FleetUnavailableError):
        await fleet.set_mode(APP, ReplicationMode.SYNC)


async def test_a_refusal_has_a_reason(fleet: HttpFleet, agents: tuple[Agent, Agent]) -> None:
    agents[0].accepts = False
    with pytest.raises(RefusedError, match="the standby lags"):
        await fleet.set_mode(APP, ReplicationMode.QUORUM)
    assert agents[0].asked == [("/v1/apps/payments/mode", {"mode": "quorum"})]
    assert agents[1].asked == []


async def test_an_agent_is_known_by_its_regions_name(agents: tuple[Agent, Agent], certificates: Path) -> None:
    async with HttpFleet({JP: agents[0].url}, certificates / "operator") as stranger:
        with pytest.raises(FleetUnavailableError, match="jp"):
            await stranger.view()
