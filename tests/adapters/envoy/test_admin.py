"""A real Envoy takes orders from its own pod only, and one that does not serve its users is noticed."""

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from leeward.adapters.envoy.gateway import ADMIN_URL
from leeward.adapters.envoy.settings import Limits
from tests.adapters.envoy.rig import TIMEOUT_S, US, Node, eventually, node
from tests.kit.certificates import issue_each
from tests.soak.sampling import envoy_gauges

pytestmark = pytest.mark.engine
ASK_TIMEOUT_S = 0.5
FEW = 3
IDLE_S = 20.0
"""Enough to find the gateway full of idle connections on a busy machine."""


@pytest.fixture
async def us(tmp_path: Path) -> AsyncIterator[Node]:
    issue_each(tmp_path / "identity", ("us", "eu"))
    limits = Limits(connections_max=FEW, idle_s=IDLE_S)
    async with aiohttp.ClientSession() as session, node(US, tmp_path, session, limits) as us:
        await us.apply(US)
        yield us


async def status(us: Node, request: str) -> int:
    """Return the status of what anybody in the region's network asks the open port, letter by letter."""
    stream = await us.connect(us.settings.metrics_port)
    async with asyncio.timeout(TIMEOUT_S):
        stream.writer.write(f"{request} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        answer = await stream.reader.readline()
    stream.writer.close()
    return int(answer.split()[1])


@pytest.mark.parametrize(
    "request_",
    [
        "POST /drain_listeners",
        "POST /quitquitquit",
        "POST /healthcheck/fail",
        "POST /logging?level=trace",
        "POST /ready",
        "PUT /stats/prometheus",
        "HEAD /ready",
        "GET /",
        "GET /quitquitquit",
        "GET /config_dump",
        "GET /certs",
        "GET /stats",
        "GET /ready?x",
        "GET /ready/",
        "GET /READY",
        "GET /ready/../quitquitquit",
        "GET /ready/%2e%2e/config_dump",
        "GET //stats/prometheus",
        "GET /stats/prometheus?filter=.*",
        "GET /stats/prometheus/../config_dump",
        "GET /stats%2Fprometheus",
        "GET http://admin/config_dump",
        "OPTIONS *",
        "CONNECT admin:80",
        "POST /quitquitquit HTTP/1.1\r\nX-HTTP-Method-Override: GET\r\nX-Envoy-Original-Path: /ready\r\nA: b",
    ],
)
async def test_nobody_gives_orders_from_the_network(us: Node, request_: str) -> None:
    assert await status(us, request_) in (400, 403, 404)
    assert (await us.request("GET")).status == 200
    assert await us.gateway.users_problem(timeout_s=TIMEOUT_S) is None


async def test_readiness_and_metrics_are_open(us: Node) -> None:
    ready = await us.request("GET", "/ready", port=us.settings.metrics_port)
    assert (ready.status, ready.text.strip()) == (200, "LIVE")
    metrics = await us.request("GET", "/stats/prometheus", port=us.settings.metrics_port)
    assert 'downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="users"}' in metrics.text
    gauges = envoy_gauges(metrics.text)
    assert gauges["envoy_server_memory_allocated"] > 0
    assert "envoy_cluster_payments_upstream_rq_active late" in gauges, "what the soak watches"


async def test_the_socket_is_its_owners(us: Node) -> None:
    assert stat.S_IMODE(os.stat(us.settings.admin_socket).st_mode) == 0o600


async def test_asking_for_readiness_is_no_request_of_a_user(us: Node) -> None:
    for _ in range(5):
        assert await us.gateway.users_problem(timeout_s=TIMEOUT_S) is None
        ready = await us.request("GET", headers={"host": "ready.leeward"})
        assert ready.status == 200
    assert await us.stat("http.users.downstream_rq_2xx") == 0
    assert not [line for pod in us.pods for line in pod.seen]


async def drain(us: Node) -> None:
    async with us.admin.post(f"{ADMIN_URL}/drain_listeners") as response:
        assert response.status == 200


async def refused(us: Node) -> bool:
    try:
        await us.connect(us.settings.metrics_port)
    except OSError:
        return True
    return False


async def test_a_drained_gateway_is_noticed_at_both_ports(us: Node) -> None:
    await drain(us)

    async def noticed() -> bool:
        return await us.gateway.users_problem(timeout_s=TIMEOUT_S) == "the users' port refuses connections"

    await eventually(noticed)

    async def not_alive() -> bool:
        return await refused(us)

    await eventually(not_alive)


async def test_a_gateway_that_fails_its_health_checks_by_order_is_noticed(us: Node) -> None:
    async with us.admin.post(f"{ADMIN_URL}/healthcheck/fail") as response:
        assert response.status == 200
    problem = await us.gateway.users_problem(timeout_s=TIMEOUT_S)
    assert problem is not None
    assert "503" in problem


async def test_a_gateway_that_hangs_is_noticed(us: Node) -> None:
    async def noticed() -> bool:
        problem = await us.gateway.users_problem(timeout_s=ASK_TIMEOUT_S)
        return problem == "the users' port does not answer within 0.5 s"

    os.kill(us.process.pid, signal.SIGSTOP)
    try:
        await eventually(noticed)
    finally:
        os.kill(us.process.pid, signal.SIGCONT)


async def test_a_gateway_that_is_gone_is_noticed(us: Node) -> None:
    await us.stop_envoy()
    assert await us.gateway.users_problem(timeout_s=TIMEOUT_S) == "the users' port refuses connections"


async def test_a_gateway_without_a_free_connection_is_noticed_and_gets_over_it(us: Node) -> None:
    primary = us.settings.apps[0].postgres_port
    assert primary is not None
    session = await us.connect(primary)
    assert await session.ask("before") == "us before"
    held = [await us.connect(us.settings.users_port) for _ in range(FEW)]

    async def full() -> bool:
        return await us.gateway.users_problem(timeout_s=TIMEOUT_S) == "the users' port closes new connections"

    await eventually(full)
    assert await session.ask("meanwhile") == "us meanwhile", "sessions of the database are none of users' connections"
    assert await (await us.connect(primary)).ask("new") == "us new"
    assert (await us.request("GET", "/ready", port=us.settings.metrics_port)).status == 200

    async def free() -> bool:
        return await us.gateway.users_problem(timeout_s=TIMEOUT_S) is None

    await eventually(free)
    for stream in held:
        await stream.closed()
