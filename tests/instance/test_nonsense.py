"""Every endpoint of the instance manager's API, given nonsense: 4xx and a reason, never 5xx, never a traceback."""

import asyncio
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from leeward.core.codec import plain
from leeward.core.values import Basis, InstanceStatus, Order, Region, Role, Synchronous, SynchronousMethod
from leeward.instance import identity
from leeward.instance.guard import Lease
from leeward.instance.instance import Instance
from leeward.instance.machine.acceptance import accept
from leeward.instance.machine.values import Memory, State
from leeward.instance.manager import Api
from leeward.instance.reconcile import Reconciler
from leeward.instance.requests import LeaseRequest, OrderRequest
from leeward.instance.settings import ManagerSettings
from leeward.instance.status import Publisher
from leeward.kit.http.refusals import Refusals
from tests.guided import climbing
from tests.kit.http import nonsense
from tests.kit.http.nonsense import EXAMPLES, HOSTILE_BODIES, HOSTILE_NUMBERS, Target

LEADS = ("leeward/instance", "leeward/core", "leeward/kit/http")
"""Hypothesis prefers requests that reach more lines of these."""

REGION = Region("us")
INCARNATION = "a"
BASIS = Basis(1, INCARNATION, 0)
SYNCHRONOUS = Synchronous(SynchronousMethod.ANY, 1, (Region("jp"),))
ORDER = plain(OrderRequest(Order(1, Role.STANDBY, Region("eu"), SYNCHRONOUS, (Region("us"),)), BASIS))
LEASE = plain(LeaseRequest(1, 10.0, BASIS))
STATUS = InstanceStatus(
    0.0,
    INCARNATION,
    0,
    Role.STANDBY,
    None,
    False,
    "",
    writable=False,
    proved=False,
    wal=None,
    replayed_lsn=None,
    upstream=None,
)
KEYS = {*ORDER, *ORDER["order"], *LEASE, *ORDER["basis"]}


class Accepting:
    """A reconciler, an instance and a publisher with nothing behind them."""

    incarnation = INCARNATION

    def __init__(self) -> None:
        self.state, self.memory = State(), Memory()
        self.guard = self
        self.leases: list[Lease] = []

    async def accept(self, order: Order, basis: Basis) -> None:
        # What an order would become is not kept: the next one is judged from the beginning.
        accept(self.state, self.memory, order, basis, INCARNATION)

    def extend(self, lease: Lease) -> None:
        self.leases.append(lease)

    def wake(self) -> None:
        return

    async def wait(self, after: int, timeout_s: float) -> None:
        assert timeout_s <= 30

    def current(self) -> tuple[InstanceStatus, int]:
        return STATUS, 1


class ManagerTarget(Target):
    def __init__(self, loop: asyncio.Runner, port: int, app: web.Application, behind: Accepting) -> None:
        super().__init__(loop, port)
        self.app = app
        self.behind = behind


@pytest.fixture(scope="module")
def target() -> Iterator[ManagerTarget]:
    patch, behind = pytest.MonkeyPatch(), Accepting()
    # Without TLS nobody has a certificate; this is the region's agent.
    patch.setattr(identity, "may_order", lambda _certificate, region: region == REGION)
    api = Api(
        cast("ManagerSettings", SimpleNamespace(region=REGION)),
        cast("Instance", behind),
        cast("Reconciler", behind),
        cast("Publisher", behind),
        Refusals("instance-shop"),
    )
    app = api.application()
    with asyncio.Runner() as loop:
        port, end = loop.run(nonsense.serve(app))
        try:
            yield ManagerTarget(loop, port, app, behind)
        finally:
            loop.run(end())
            patch.undo()


def test_every_endpoint_is_here(target: ManagerTarget) -> None:
    assert nonsense.endpoints(target.app) == {("GET", "/v1/status"), ("PUT", "/v1/order"), ("PUT", "/v1/lease")}


@pytest.mark.parametrize("number", HOSTILE_NUMBERS)
def test_a_number_that_is_none_is_refused(target: ManagerTarget, number: str) -> None:
    quoted = nonsense.quote(number, safe="")
    assert target.ask("GET", f"/v1/status?after={quoted}").status == 400
    assert target.ask("GET", f"/v1/status?after=1&wait_s={quoted}").status == 400


@pytest.mark.parametrize("body", HOSTILE_BODIES, ids=lambda body: repr(body[:12]))
def test_a_body_that_makes_no_sense_is_refused(target: ManagerTarget, body: bytes) -> None:
    assert target.ask("PUT", "/v1/order", body).status == 400
    assert target.ask("PUT", "/v1/lease", body).status == 400


@pytest.mark.parametrize("until", ["1e999", "NaN", "-Infinity", "1e300", str(10**30), '"1"', "true", "null", "[]"])
def test_a_lease_ends_in_good_time(target: ManagerTarget, until: str) -> None:
    body = json.dumps({**LEASE, "until_s": 0}).replace('"until_s": 0', f'"until_s": {until}').encode()
    assert target.ask("PUT", "/v1/lease", body).status == 400
    assert all(abs(lease.until_s) <= 2**31 for lease in target.behind.leases)


@given(nonsense.queries(["after", "wait_s"]), st.binary(max_size=20), nonsense.HEADERS)
@settings(max_examples=EXAMPLES)
@climbing(*LEADS)
def test_any_question_for_the_status(target: ManagerTarget, query: str, body: bytes, headers: dict[str, str]) -> None:
    target.ask("GET", f"/v1/status{query}", body, headers)


@given(nonsense.bodies(ORDER, KEYS), nonsense.HEADERS)
@settings(max_examples=2 * EXAMPLES)
@climbing(*LEADS)
def test_any_order(target: ManagerTarget, body: bytes, headers: dict[str, str]) -> None:
    target.ask("PUT", "/v1/order", body, headers)


@given(nonsense.bodies(LEASE, KEYS), nonsense.HEADERS)
@settings(max_examples=EXAMPLES)
@climbing(*LEADS)
def test_any_lease(target: ManagerTarget, body: bytes, headers: dict[str, str]) -> None:
    target.ask("PUT", "/v1/lease", body, headers)
    assert all(abs(lease.until_s) <= 2**31 for lease in target.behind.leases)


def test_what_is_right_is_accepted(target: ManagerTarget) -> None:
    assert target.ask("PUT", "/v1/order", nonsense.written(ORDER)).status == 200
    assert target.ask("PUT", "/v1/lease", nonsense.written(LEASE)).status == 200
    assert target.ask("GET", "/v1/status?after=1&wait_s=0.5").status == 200
