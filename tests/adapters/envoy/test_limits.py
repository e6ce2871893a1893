"""Slow clients of a real gateway are answered and let go, and others are served meanwhile."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from leeward.adapters.envoy.settings import Limits
from tests.adapters.envoy.rig import TIMEOUT_S, US, Node, Stream, eventually, node
from tests.kit.certificates import issue_each

pytestmark = pytest.mark.engine
LIMITS = Limits(headers_s=1, request_s=2, silent_s=1.5, idle_s=1)
SLOW_BODIES = Limits(request_s=2)
"""Nothing else is short: the pods are part of this process, and others' requests may wait for them."""
SLOW = 200
BYTE_EVERY_S = 0.2
BOUND_S = 20.0
"""Far more than any limit, for a machine that is busy; without limits none of this would end."""


@pytest.fixture
async def us(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Node]:
    """A region with the limits that a test asks for, and all of them short unless it does."""
    issue_each(tmp_path / "identity", ("us", "eu"))
    limits = getattr(request, "param", LIMITS)
    async with aiohttp.ClientSession() as session, node(US, tmp_path, session, limits) as us:
        await us.apply(US)
        yield us


async def answered(stream: Stream) -> str:
    """Return all that comes until the gateway closes the connection."""
    async with asyncio.timeout(TIMEOUT_S):
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while data := await stream.reader.read(4096):
                found += data
        return found.decode()


async def drip(stream: Stream) -> str:
    """Send a byte now and then until something comes; return all that comes.

    No byte after that: a connection that the gateway has closed answers it with a reset, and what came is lost.
    """
    while True:
        try:
            first = await asyncio.wait_for(stream.reader.readexactly(1), BYTE_EVERY_S)
        except TimeoutError:
            stream.writer.write(b"x")
            await stream.writer.drain()
        else:
            return first.decode() + await answered(stream)


async def begin(us: Node) -> Stream:
    """Return a connection whose request has begun: its headers are there, and nothing of its body."""
    stream = await us.connect(us.settings.users_port)
    stream.writer.write(b"POST /slow HTTP/1.1\r\nHost: pay.example\r\nContent-Length: 1000000\r\n\r\n")
    return stream


@pytest.mark.parametrize("us", [pytest.param(SLOW_BODIES, id="slow bodies")], indirect=True)
async def test_bodies_a_byte_at_a_time_are_answered_in_time_and_others_are_served(us: Node) -> None:
    began_s = time.monotonic()
    streams = [await begin(us) for _ in range(SLOW)]
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as tasks:
        dripping = [tasks.create_task(drip(stream)) for stream in streams]
        others = [await us.request("GET") for _ in range(5)]
    found = [task.result() for task in dripping]
    took_s = time.monotonic() - began_s
    assert [each.status for each in others] == [200] * 5
    assert {each.split("\r\n", 1)[0] for each in found} == {"HTTP/1.1 408 Request Timeout"}
    assert SLOW_BODIES.request_s < took_s < BOUND_S


@pytest.mark.parametrize(
    ("us", "said", "expected"),
    [
        pytest.param(Limits(idle_s=1), b"", "", id="nothing at all"),
        pytest.param(
            Limits(headers_s=1),
            b"GET / HTTP/1.1\r\nHost: pay",
            "HTTP/1.1 408 Request Timeout",
            id="half of its headers",
        ),
        pytest.param(
            Limits(silent_s=1.5),
            b"POST / HTTP/1.1\r\nHost: pay.example\r\nContent-Length: 9\r\n\r\n12",
            "HTTP/1.1 408 Request Timeout",
            id="part of a body",
        ),
        pytest.param(
            Limits(idle_s=3),
            b"GET / HTTP/1.1\r\nHost: pay.example\r\n\r\n",
            "HTTP/1.1 200 OK",
            id="nothing after a request",
        ),
    ],
    indirect=["us"],
)
async def test_a_client_that_falls_silent_is_let_go(us: Node, said: bytes, expected: str) -> None:
    stream = await us.connect(us.settings.users_port)
    stream.writer.write(said)
    began_s = time.monotonic()
    found = await answered(stream)
    assert time.monotonic() - began_s < BOUND_S
    assert found.split("\r\n", 1)[0] == expected


async def test_a_session_of_the_database_is_not_let_go(us: Node) -> None:
    primary = us.settings.apps[0].postgres_port
    assert primary is not None
    session = await us.connect(primary)
    assert await session.ask("first") == "us first"
    await answered(await us.connect(us.settings.users_port))  # an idle user's connection ends meanwhile
    assert await session.ask("later") == "us later"


async def test_too_full_a_heap_is_said_and_the_region_is_not_fit(tmp_path: Path) -> None:
    issue_each(tmp_path / "identity", ("us", "eu"))
    tiny = Limits(heap_bytes=2**20)
    async with aiohttp.ClientSession() as session, node(US, tmp_path, session, tiny) as us:
        await us.apply(US)

        async def full() -> bool:
            answer = await us.request("GET")
            return answer.status == 503 and "overload" in answer.text

        await eventually(full)
        problem = await us.gateway.users_problem(timeout_s=TIMEOUT_S)
        assert problem is not None
        assert "503" in problem
