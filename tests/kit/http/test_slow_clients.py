"""Clients that send slowly, or nothing: they wait for nobody's patience but their own, and others are served."""

import asyncio
import contextlib
import gzip
import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from leeward.kit.http import tls
from leeward.kit.http.answers import answered
from leeward.kit.http.bodies import BodyLimits, bounded
from leeward.kit.http.client_tls import client_context
from leeward.kit.http.refusals import Refusals
from leeward.kit.http.serving import HttpServer, ServerLimits
from tests.agent.runtime.test_api import write_identity
from tests.core.views import AP, EU
from tests.kit.http import nonsense
from tests.kit.waiting import until

# What is bounded takes fractions of a second; a busy machine may take longer to notice.
BOUND_S = 20
BODIES = BodyLimits(size_max=1000, read_s=0.3, in_all=8, per_client=4)
CONNECTIONS = ServerLimits(in_all=6, per_client=3)
SHORT_IDLE = replace(CONNECTIONS, idle_s=0.3)
ALL_SHORT = replace(SHORT_IDLE, handshake_s=0.3)
HEAD = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"


def problem(status: int, code: str, because: str) -> web.Response:
    return web.json_response({"code": code, "because": because}, status=status)


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


def an_application() -> web.Application:
    app = web.Application(middlewares=[answered(problem), bounded(BODIES, problem)], client_max_size=BODIES.size_max)
    app.router.add_post("/echo", echo)
    return app


# -- bodies -----------------------------------------------------------------------------------------


@pytest.fixture
async def port() -> AsyncIterator[int]:
    port, end = await nonsense.serve(an_application())
    yield port
    await end()


async def begin(port: int, address: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    writer.write(HEAD)
    return reader, writer


async def status_of(reader: asyncio.StreamReader) -> int:
    async with asyncio.timeout(BOUND_S):
        return int((await reader.readline()).split(b" ")[1])


async def test_a_body_sent_a_byte_at_a_time_is_given_up_and_others_go_on(port: int) -> None:
    slow = [await begin(port) for _ in range(BODIES.per_client)]

    async def drip(writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)

    started_s = asyncio.get_running_loop().time()
    dripping = [asyncio.create_task(drip(writer)) for _, writer in slow]
    # Read as soon as they come: a byte after that is answered with a reset, and what was not read by then is lost.
    given_up = asyncio.gather(*(status_of(reader) for reader, _ in slow))
    try:
        assert (await nonsense.exchange(port, nonsense.request("POST", "/echo", b"quick"))).status in (200, 429)
        reader, writer = await begin(port, "127.0.0.2")
        writer.write(b"y" * 100)
        assert await status_of(reader) == 200, "another client is served meanwhile"
        writer.close()
        assert await given_up == [408] * len(slow)
        assert asyncio.get_running_loop().time() - started_s < BOUND_S
        for reader, _ in slow:
            async with asyncio.timeout(BOUND_S):
                with contextlib.suppress(ConnectionError):
                    await reader.read()
        assert (await nonsense.exchange(port, nonsense.request("POST", "/echo", b"quick"))).body == b"quick"
    finally:
        given_up.cancel()
        for task in dripping:
            task.cancel()
        await asyncio.gather(*dripping, given_up, return_exceptions=True)
        for _, writer in slow:
            writer.close()


async def test_two_hundred_slow_bodies_leave_room_for_others(port: int) -> None:
    slow = [await begin(port, f"127.0.0.{10 + number % 50}") for number in range(200)]
    statuses = [await status_of(reader) for reader, _ in slow]
    assert set(statuses) == {408, 429}
    assert (await nonsense.exchange(port, nonsense.request("POST", "/echo", b"quick"))).body == b"quick"
    for _, writer in slow:
        writer.close()


async def test_one_client_has_its_share_and_no_more(port: int) -> None:
    slow = [await begin(port) for _ in range(3 * BODIES.per_client)]
    statuses = [await status_of(reader) for reader, _ in slow]
    assert statuses.count(408) >= BODIES.per_client
    reader, _ = slow[statuses.index(429)]
    async with asyncio.timeout(BOUND_S):
        assert b"Retry-After: 1" in await reader.read()
    for _, writer in slow:
        writer.close()


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(nonsense.request("POST", "/echo", b"z" * 1001), id="it says so"),
        pytest.param(
            b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1f4\r\n" + b"z" * 500 + b"\r\n1f5\r\n" + b"z" * 501 + b"\r\n0\r\n\r\n",
            id="it does not say so",
        ),
    ],
)
async def test_a_body_that_is_too_large_is_refused(port: int, raw: bytes) -> None:
    answer = await nonsense.exchange(port, raw)
    assert answer.status == 413
    assert json.loads(answer.body)["code"] == "body-too-large"


async def test_a_body_that_is_no_body_is_refused(port: int) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await nonsense.exchange(port, head + b"zz\r\nnot a chunk\r\n")
    assert answer.status == 400
    assert b"Traceback" not in answer.body


async def test_a_compressed_bomb_is_not_unpacked(port: int) -> None:
    bomb = gzip.compress(bytes(100_000))
    assert len(bomb) < 1000
    answer = await nonsense.exchange(port, nonsense.request("POST", "/echo", bomb, {"Content-Encoding": "gzip"}))
    assert (answer.status, answer.body) == (200, bomb)


# -- connections ------------------------------------------------------------------------------------


@dataclass
class Serving:
    server: HttpServer
    tls: ssl.SSLContext
    may_end: asyncio.Event

    async def ask(self, path: str = "/quick") -> int:
        connector = aiohttp.TCPConnector(ssl=self.tls, local_addr=("127.0.0.1", 0), force_close=True)
        url = f"https://127.0.0.1:{self.server.port}{path}"
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(url, server_hostname=EU, timeout=aiohttp.ClientTimeout(total=BOUND_S)) as response,
        ):
            return response.status

    async def silent(self, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.server.port, local_addr=(address, 0))

    async def until(self, condition: Callable[[], bool]) -> None:
        def look() -> bool:
            self.server._forget_closed()
            return condition()

        await until(look, within_s=BOUND_S, every_s=0.01)

    async def until_empty(self) -> None:
        await self.until(lambda: not self.server._connections)

    def is_busy(self) -> bool:
        return any(held.busy for held in self.server._connections._held.values())


@pytest.fixture
async def serving(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Serving]:
    """A server with the limits that a test asks for; unless it does, no pause of a busy machine ends a connection."""
    limits = getattr(request, "param", CONNECTIONS)
    write_identity(tmp_path)
    may_end = asyncio.Event()

    async def fast_frozen(request: web.Request) -> web.Response:
        return web.Response()

    async def slow(request: web.Request) -> web.Response:
        await may_end.wait()
        return web.Response()

    app = web.Application()
    app.add_routes([web.get("/quick", fast_frozen), web.get("/slow", slow)])
    async with HttpServer(app, "127.0.0.1", 0, tls.server(tmp_path / EU), Refusals("test"), limits) as server:
        yield Serving(server, client_context(tmp_path / AP), may_end)
        may_end.set()


all_short = pytest.mark.parametrize("serving", [pytest.param(ALL_SHORT, id="all short")], indirect=True)
short_idle = pytest.mark.parametrize("serving", [pytest.param(SHORT_IDLE, id="short idle")], indirect=True)


async def gone(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(BOUND_S):
        with contextlib.suppress(OSError):
            assert await reader.read() == b""


@all_short
async def test_who_says_nothing_is_hung_up_on(serving: Serving) -> None:
    reader, writer = await serving.silent("127.0.0.1")
    await gone(reader)
    writer.close()
    await serving.until_empty()


async def test_silent_connections_of_one_client_shut_out_neither_it_nor_others(serving: Serving) -> None:
    held = [await serving.silent(address) for address in ("127.0.0.2", "127.0.0.1") for _ in range(20)]
    assert len(serving.server._connections) <= 2 * CONNECTIONS.per_client
    assert await serving.ask() == 200
    for _, writer in held:
        writer.close()


async def test_two_hundred_silent_connections_of_many_shut_nobody_out(serving: Serving) -> None:
    held = [await serving.silent(f"127.0.0.{10 + number}") for number in range(200)]
    assert await serving.ask() == 200
    assert len(serving.server._connections) <= CONNECTIONS.in_all
    for _, writer in held:
        writer.close()


async def test_a_request_that_is_being_answered_is_not_cut_off(serving: Serving) -> None:
    asking = asyncio.create_task(serving.ask("/slow"))
    await serving.until(serving.is_busy)
    held = [await serving.silent(f"127.0.0.{1 + number % 30}") for number in range(60)]
    serving.may_end.set()
    assert await asking == 200
    for _, writer in held:
        writer.close()


@short_idle
async def test_a_head_sent_a_byte_at_a_time_is_given_up(serving: Serving) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", serving.server.port, ssl=serving.tls, server_hostname=EU
    )

    async def drip() -> None:
        with contextlib.suppress(ConnectionError):
            for byte in b"GET /quick HTTP/1.1\r\nX: " + b"y" * 10_000:
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(0.01)

    dripping = asyncio.create_task(drip())
    await gone(reader)
    dripping.cancel()
    await asyncio.gather(dripping, return_exceptions=True)
    writer.close()


async def test_places_are_given_back(serving: Serving) -> None:
    for _ in range(4 * CONNECTIONS.in_all):
        assert await serving.ask() == 200
    await serving.until_empty()


@all_short
async def test_who_has_no_certificate_is_not_served_and_holds_no_place(serving: Serving) -> None:
    stranger = ssl.create_default_context()
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", serving.server.port, ssl=stranger)
        writer.write(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
        await gone(reader)
        writer.close()
    await serving.until_empty()
