"""One client of a real gateway cannot take all requests or connections: it is refused, and the others are served."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from leeward.adapters.envoy.settings import Limits
from leeward.core.settings import ClientLimits
from tests.adapters.envoy.rig import TIMEOUT_S, US, Node, Stream, node
from tests.kit.certificates import issue_each
from tests.kit.waiting import until

pytestmark = pytest.mark.engine
GREEDY, PROXY = "127.10.203.1", "127.10.203.2"
OTHERS = tuple(f"127.10.203.{last}" for last in range(10, 30))
NEARLY_ALL = len(OTHERS) * 3 // 4
"""One in 32 of all addresses shares the greedy client's group."""
OVER = 8
FEW_REQUESTS = Limits(clients=ClientLimits(requests_per_s=5))
FEW_UNDER_WAY = Limits(client_requests=OVER)
FEW_CONNECTIONS = Limits(clients=ClientLimits(connections=OVER))
BEHIND_PROXY = Limits(clients=ClientLimits(requests_per_s=5, connections=OVER, proxies=(f"{PROXY}/32",)))
UPLOAD = b"POST /slow HTTP/1.1\r\nHost: pay.example\r\nContent-Length: 9\r\n\r\n"


@pytest.fixture
async def us(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Node]:
    """A region with the limits that a test asks for."""
    issue_each(tmp_path / "identity", ("us", "eu"))
    async with aiohttp.ClientSession() as session, node(US, tmp_path, session, request.param) as us:
        await us.apply(US)
        yield us


async def asked(stream: Stream, named: str | None = None) -> tuple[int, dict[str, str], str]:
    """Return status, headers and body of an answer; status 0 when the connection is closed instead."""
    forwarded = f"X-Forwarded-For: {named}\r\n" if named else ""
    async with asyncio.timeout(TIMEOUT_S):
        try:
            stream.writer.write(f"GET / HTTP/1.1\r\nHost: pay.example\r\n{forwarded}\r\n".encode())
            head = (await stream.reader.readuntil(b"\r\n\r\n")).decode()
        except (OSError, asyncio.IncompleteReadError):
            return 0, {}, ""
        status, *lines = head.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        body = await stream.reader.readexactly(int(headers["content-length"]))
    return int(status.split()[1]), headers, body.decode()


async def served(us: Node, sources: tuple[str, ...]) -> int:
    """Return how many of these clients are served, with a connection each."""
    streams = [await us.connect(us.settings.users_port, source) for source in sources]
    return sum([(await asked(stream))[0] == 200 for stream in streams])


async def counted(us: Node, name: str) -> float:
    """Return what the gateway's metrics count under a name."""
    metrics = await us.request("GET", "/stats/prometheus", port=us.settings.metrics_port)
    return sum(float(line.rsplit(" ", 1)[1]) for line in metrics.text.splitlines() if line.startswith(name))


@pytest.mark.parametrize("us", [pytest.param(FEW_REQUESTS, id="5 a second")], indirect=True)
async def test_who_asks_too_often_is_told_when_to_ask_again_and_others_are_served(us: Node) -> None:
    stream = await us.connect(us.settings.users_port, GREEDY)
    answers = [await asked(stream) for _ in range(40)]
    found = Counter(status for status, _, _ in answers)
    assert found[200] >= 10
    assert found[200] + found[429] == 40
    _, headers, body = next(each for each in answers if each[0] == 429)
    assert (headers["retry-after"], headers["content-type"]) == ("1", "application/json")
    assert json.loads(body)["code"] == "too-many-requests"
    assert await served(us, OTHERS) == len(OTHERS), "requests per second are counted for each address alone"
    assert await counted(us, "envoy_http_local_rate_limit_enforced") == found[429]


@pytest.mark.parametrize("us", [pytest.param(FEW_UNDER_WAY, id="8 under way")], indirect=True)
async def test_who_has_too_many_slow_uploads_is_refused_more_and_others_are_served(us: Node) -> None:
    held = [await us.connect(us.settings.users_port, GREEDY) for _ in range(OVER)]
    for stream in held:
        stream.writer.write(UPLOAD)
    more = await us.connect(us.settings.users_port, GREEDY)
    # Not all uploads have arrived.
    answer = await until(lambda: asked(more), accept=lambda found: found[0] != 200, within_s=TIMEOUT_S, every_s=0)
    assert (answer[0], answer[1]["retry-after"]) == (429, "1")
    assert await served(us, OTHERS) >= NEARLY_ALL
    assert await counted(us, "envoy_http_adaptive_concurrency_gradient_controller_rq_blocked") >= 1
    for stream in held[: OVER // 2]:
        stream.writer.close()
    # An upload that is given up frees its place.
    await until(lambda: asked(more), accept=lambda found: found[0] != 429, within_s=TIMEOUT_S, every_s=0)


@pytest.mark.parametrize("us", [pytest.param(FEW_CONNECTIONS, id="8 connections")], indirect=True)
async def test_who_opens_too_many_connections_is_refused_more_and_others_are_served(us: Node) -> None:
    assert await served(us, (GREEDY,) * 3 * OVER) == OVER
    assert await served(us, OTHERS) >= NEARLY_ALL
    assert await us.gateway.users_problem(timeout_s=TIMEOUT_S) is None, "the agent's own question is none of theirs"
    assert await counted(us, "envoy_connection_limit_limited_connections") >= 2 * OVER


@pytest.mark.parametrize("us", [pytest.param(FEW_CONNECTIONS, id="8 connections")], indirect=True)
async def test_the_agent_is_not_limited(us: Node) -> None:
    own = us.settings.host
    assert await served(us, (own,) * 3 * OVER) == 3 * OVER


@pytest.mark.parametrize("us", [pytest.param(BEHIND_PROXY, id="a load balancer in front")], indirect=True)
async def test_behind_a_load_balancer_the_client_that_it_names_counts(us: Node) -> None:
    streams = [await us.connect(us.settings.users_port, PROXY) for _ in range(3 * OVER)]
    named = [f"198.51.100.{number}" for number in range(len(streams))]
    assert [(await asked(*each))[0] for each in zip(streams, named, strict=True)] == [200] * len(streams)
    spoofed = "203.0.113.1, 198.51.100.77"  # what the client itself said comes first
    found = Counter([(await asked(streams[0], f"203.0.113.{number}, 198.51.100.77"))[0] for number in range(40)])
    assert found[429] > 0
    assert (await asked(streams[1], spoofed.replace("77", "78")))[0] == 200


@pytest.mark.parametrize("us", [pytest.param(BEHIND_PROXY, id="a load balancer in front")], indirect=True)
async def test_who_is_no_load_balancer_cannot_name_another_client(us: Node) -> None:
    stream = await us.connect(us.settings.users_port, GREEDY)
    found = Counter([(await asked(stream, f"198.51.100.{number}"))[0] for number in range(40)])
    assert found[429] > 0
