"""The control socket, given nonsense: a refusal with its problems, never a failure inside."""

import asyncio
import errno
import json
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from leeward.world.control import ControlApi
from leeward.world.model import Applied, WorldConfig, WorldInfo
from leeward.world.region import RegionProcesses
from leeward.world.wan_control import WanControl
from tests.guided import climbing
from tests.kit.http import nonsense
from tests.kit.http.nonsense import EXAMPLES, HOSTILE_BODIES, Target

LEADS = ("leeward/world/control", "leeward/world/wan_control", "leeward/kit/http")
"""Hypothesis prefers requests that reach more lines of these."""

DONE = Applied(at_unix_s=0.0, at_boot_s=0.0)
LINKS = {"from": "us", "to": "*", "both": True, "state": "cut", "delay_ms": 5, "rate_kib_s": None}
SIGNAL = {"match": "postgres", "signal": "SIGKILL"}
FAULTS = ("kill", "freeze", "thaw", "start", "signal")


class Region:
    """One of the world's, with no processes."""

    config = SimpleNamespace(name="us")

    async def kill(self) -> Applied:
        return DONE

    async def freeze(self) -> Applied:
        return DONE

    def thaw(self) -> Applied:
        return DONE

    def start(self) -> Applied:
        return DONE

    def signal(self, match: str, number: int) -> Applied:
        return DONE


class FullDisk(Region):
    """One whose processes cannot be started."""

    def start(self) -> Applied:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Wan:
    async def change(self, pairs: object, changes: dict[str, Any]) -> Applied:
        assert all(value is None or isinstance(value, bool) or 0 <= value <= 1e9 for value in changes.values())
        return DONE

    async def links(self) -> tuple[object, ...]:
        return ()


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    patch = pytest.MonkeyPatch()
    # This target is no unix socket: nothing says which user asks.
    patch.setattr("leeward.world.control.asked_by_us", lambda _request: True)
    info = WorldInfo(
        name="w",
        fleet="f",
        directory="/",
        isolation="full",
        not_emulated=(),
        janitor_pid=1,
        supervisor_pid=2,
        wan_pid=None,
        started_at_unix_s=0.0,
        files=(),
        regions=(),
    )
    api = ControlApi(
        cast("WorldConfig", None),
        cast("dict[str, RegionProcesses]", {"us": Region(), "eu": Region(), "full-disk": FullDisk()}),
        cast("WanControl", Wan()),
        lambda: info,
        lambda: None,
    )
    app = api.application()
    assert nonsense.endpoints(app) == {
        ("GET", "/v1/world"),
        ("POST", "/v1/regions/{region}/{fault}"),
        ("GET", "/v1/links"),
        ("PUT", "/v1/links"),
        ("POST", "/v1/down"),
    }
    with asyncio.Runner() as loop:
        port, end = loop.run(nonsense.serve(app))
        try:
            yield Target(loop, port)
        finally:
            loop.run(end())
            patch.undo()


@pytest.mark.parametrize("body", HOSTILE_BODIES, ids=lambda body: repr(body[:12]))
def test_a_body_that_makes_no_sense_is_refused(target: Target, body: bytes) -> None:
    for method, path in (("POST", "/v1/regions/us/signal"), ("PUT", "/v1/links")):
        answer = target.ask(method, path, body)
        assert answer.status == 400
        assert json.loads(answer.body)["problems"][0]["code"] == "bad-request"


@pytest.mark.parametrize(
    ("path", "body", "status", "why"),
    [
        pytest.param("us/signal", {"match": "cron", "signal": "SIGKILL"}, 400, "not one of", id="no such program"),
        pytest.param("us/signal", {**SIGNAL, "signal": "HUP"}, 400, "not a signal name", id="no such signal"),
        pytest.param("ap/kill", {}, 409, "its regions are", id="no such region"),
    ],
)
def test_a_fault_that_is_not_done_says_whose_mistake_it_is(
    target: Target, path: str, body: dict[str, str], status: int, why: str
) -> None:
    answer = target.ask("POST", f"/v1/regions/{path}", json.dumps(body).encode())
    (problem,) = json.loads(answer.body)["problems"]
    assert answer.status == status
    assert why in problem["why"]


def test_what_the_operating_system_refused_is_in_the_log_by_its_number(target: Target) -> None:
    with capture_logs() as logs:
        answer = target.loop.run(
            nonsense.exchange(target.port, nonsense.request("POST", "/v1/regions/full-disk/start"))
        )
    (problem,) = json.loads(answer.body)["problems"]
    (line,) = logs
    assert (answer.status, problem["code"]) == (500, "disk-full")
    assert problem["why"].endswith(f"see the log, request {line['request']}")
    assert line["error"] == "OSError"


@given(st.sampled_from(FAULTS), st.binary(max_size=12), nonsense.bodies(SIGNAL, SIGNAL), nonsense.HEADERS)
@settings(max_examples=EXAMPLES)
@climbing(*LEADS)
def test_any_fault(target: Target, fault: str, region: bytes, body: bytes, headers: dict[str, str]) -> None:
    target.ask("POST", f"/v1/regions/us/{fault}", body, headers)
    target.ask("POST", f"/v1/regions/{nonsense.quote_from_bytes(region, safe='')}/{fault}", body, headers)


@given(nonsense.bodies(LINKS, LINKS), nonsense.HEADERS)
@settings(max_examples=2 * EXAMPLES)
@climbing(*LEADS)
def test_any_change_of_links(target: Target, body: bytes, headers: dict[str, str]) -> None:
    target.ask("PUT", "/v1/links", body, headers)


def test_reading(target: Target) -> None:
    for path in ("/v1/world?x=%FF", "/v1/links"):
        assert target.ask("GET", path, b"[").status == 200
    assert json.loads(target.ask("GET", "/v1/nothing").body)["problems"][0]["code"] == "not-found"
