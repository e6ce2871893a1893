"""Every endpoint of the agent's API, given nonsense: 4xx and a reason, never 5xx, never a traceback."""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from leeward.agent.machine import actions as do
from leeward.agent.machine import events
from leeward.agent.machine.machine import Machine
from leeward.agent.runtime import api
from leeward.agent.runtime.api import application
from leeward.agent.runtime.authorization import HEADER, Signer, Verifier
from leeward.agent.runtime.peers import HttpPeers
from leeward.agent.runtime.runtime import Runtime
from leeward.agent.services.conditions import Conditions
from leeward.agent.services.deep_health import DeepHealths
from leeward.core.codec import plain
from leeward.core.values import LastDrill, Promise, WalPosition
from leeward.kit.http import tls
from leeward.kit.http.refusals import Refusals
from leeward.ports.clock import SystemClock
from leeward.sim.quorum import MemoryStore
from tests.agent.machine.test_machine import FLEET
from tests.agent.machine.test_machine import settings as settings_of
from tests.agent.runtime.test_api import OnePod, Told, _Silent, write_identity
from tests.core.views import AP, APP, EU, REGIONS
from tests.guided import climbing
from tests.kit.http import nonsense
from tests.kit.http.nonsense import EXAMPLES, HOSTILE_BODIES, HOSTILE_NUMBERS, Target

LEADS = ("leeward/agent", "leeward/core", "leeward/kit/http")
"""Hypothesis prefers requests that reach more lines of these."""

PROMISE = plain(Promise(AP, APP, 2, WalPosition(1, 100)))
DRILL = plain(LastDrill("region-loss", "async", "passed", 1000.0))
CHANGE = {"to": AP, "dry_run": True, "mode": "async"}
KEYS = {*PROMISE, *DRILL, *CHANGE, "wal", "epoch", "lsn"}
GET = ("/healthz", "/metrics", "/v1/status", "/v1/vantage", "/v1/records", "/v1/store", "/v1/certificates")
VERBS = ("switchover", "failover", "mode", "pause", "resume", "drill")


class AgentTarget(Target):
    def __init__(self, loop: asyncio.Runner, port: int, app: web.Application, directory: Path) -> None:
        super().__init__(loop, port)
        self.app = app
        self.directory = directory

    def signed(self, path: str, body: bytes) -> dict[str, str]:
        signer = Signer(self.directory / "operator")
        return signer.authorize("POST", path, body, at_unix_s=time.time(), nonce=secrets.token_hex(8))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentTarget]:
    directory = tmp_path_factory.mktemp("agent")
    write_identity(directory)
    patch = pytest.MonkeyPatch()
    with asyncio.Runner() as loop:

        async def start() -> Any:
            peers = HttpPeers(EU, (), tls.client(directory / EU))
            session = aiohttp.ClientSession()
            runtime = Runtime(
                Machine(settings_of(EU), "a"),
                clock=SystemClock(),
                quorum=MemoryStore(REGIONS).member(EU),
                databases={},
                gateway=Told(),
                peers=_Silent(),
                pods=OnePod(),
            )

            async def reply(asked: events.Request, *, timeout_s: float) -> do.Reply:
                return do.Reply(asked.request, False, "nothing is decided here")

            patch.setattr(runtime, "ask", reply)
            # Without TLS nobody has a certificate; this is the region that may promise.
            patch.setattr(api, "uris", lambda _certificate: [api.region_uri(FLEET, AP)])
            machine = runtime.machine
            conditions = Conditions(machine, runtime.clock, runtime.changes)
            deep = DeepHealths(machine.settings.apps, machine.apps, session, runtime.clock, runtime.changes)
            verifier = Verifier(FLEET, directory / "ca.crt")
            app = application(runtime, peers, conditions, deep, verifier, Refusals("agent"))
            port, end = await nonsense.serve(app)
            return app, port, (end, session.close, lambda: peers.__aexit__(None, None, None))

        app, port, ends = loop.run(start())
        try:
            yield AgentTarget(loop, port, app, directory)
        finally:
            for end in ends:
                loop.run(end())
            patch.undo()


def test_every_endpoint_is_here(target: AgentTarget) -> None:
    assert nonsense.endpoints(target.app) == {
        *(("GET", path) for path in GET),
        ("PUT", "/v1/promises"),
        ("POST", "/v1/apps/{app}/drill"),
        ("POST", "/v1/apps/{app}/{verb}"),
    }


@pytest.mark.parametrize("number", HOSTILE_NUMBERS)
def test_an_invalid_number_is_refused(target: AgentTarget, number: str) -> None:
    answer = target.ask("GET", f"/v1/records?after={nonsense.quote(number, safe='')}")
    assert answer.status == 400
    assert "after must be a whole number" in json.loads(answer.body)["because"]


@pytest.mark.parametrize("body", HOSTILE_BODIES, ids=lambda body: repr(body[:12]))
def test_a_body_that_makes_no_sense_is_refused(target: AgentTarget, body: bytes) -> None:
    for verb in ("switchover", "failover", "mode", "drill"):
        path = f"/v1/apps/{APP}/{verb}"
        assert target.ask("POST", path, body, target.signed(path, body)).status == 400, verb
    assert target.ask("PUT", "/v1/promises", body).status == 400


@pytest.mark.parametrize("path", GET)
@given(query=nonsense.queries(["after", "wait_s", "x"]), body=st.binary(max_size=50), headers=nonsense.HEADERS)
@settings(max_examples=EXAMPLES)
@climbing(*LEADS)
def test_reading_with_any_query(
    target: AgentTarget, path: str, query: str, body: bytes, headers: dict[str, str]
) -> None:
    target.ask("GET", path + query, body, headers)


@given(nonsense.bodies(PROMISE, KEYS), nonsense.HEADERS)
@settings(max_examples=EXAMPLES)
@climbing(*LEADS)
def test_any_promise(target: AgentTarget, body: bytes, headers: dict[str, str]) -> None:
    target.ask("PUT", "/v1/promises", body, headers)


@pytest.mark.parametrize("verb", VERBS)
@given(body=st.one_of(nonsense.bodies(CHANGE, KEYS), nonsense.bodies(DRILL, KEYS)))
@settings(max_examples=EXAMPLES)
@climbing(*LEADS)
def test_any_change_that_an_operator_signed(target: AgentTarget, verb: str, body: bytes) -> None:
    path = f"/v1/apps/{APP}/{verb}"
    assert target.ask("POST", path, body, target.signed(path, body)).status != 403


@given(st.data())
@settings(max_examples=EXAMPLES)
@climbing(*LEADS)
def test_any_authorization_is_refused(target: AgentTarget, data: st.DataObject) -> None:
    valid = json.loads(base64.b64decode(target.signed("/x", b"")[HEADER]))
    made = data.draw(nonsense.changed(valid, valid))
    header = base64.b64encode(nonsense.written(made)).decode()
    deep = base64.b64encode(b"[" * 4000).decode()
    for each in (header, deep, data.draw(st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=40))):
        answer = target.ask("POST", f"/v1/apps/{APP}/pause", b"", {HEADER: each})
        assert answer.status in (400, 403)


@given(st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]), st.binary(max_size=30))
@settings(max_examples=EXAMPLES)
@climbing(*LEADS)
def test_any_path(target: AgentTarget, method: str, raw: bytes) -> None:
    tail = nonsense.quote_from_bytes(raw, safe="")
    assert target.ask(method, f"/{tail}").status in (400, 403, 404, 405)
    path = f"/v1/apps/{tail or 'x'}/pause"
    assert target.ask("POST", path, b"", target.signed(path, b"")).status in (400, 403, 404, 409)


@given(st.binary(max_size=200))
@settings(max_examples=EXAMPLES)
@climbing(*LEADS)
def test_what_is_no_http(target: AgentTarget, raw: bytes) -> None:
    with capture_logs() as logs:
        answer = target.loop.run(nonsense.exchange(target.port, raw + b"\r\n\r\n\0\r\n\r\n"))
    assert answer.status in (0, 400)
    assert b"Traceback" not in answer.body
    assert all(line["event"] == "request not served" and line["request"] for line in logs)


def test_an_internal_error_has_a_number_that_the_log_explains(
    target: AgentTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> str:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("leeward.agent.runtime.metrics.exposition", fails)
    with capture_logs() as logs:
        answer = target.loop.run(nonsense.exchange(target.port, nonsense.request("GET", "/metrics")))
    assert answer.status == 500
    (line,) = [line for line in logs if line["event"] == "request failed"]
    assert line["request"] in json.loads(answer.body)["because"]
    assert (line["because"], line["exc_info"]) == ("secret detail", True)
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
