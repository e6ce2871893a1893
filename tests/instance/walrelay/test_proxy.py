"""The WAL proxy between real sockets: nobody waits for ever, whoever goes first; with an upstream of a few bytes."""

import asyncio
import os
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from leeward.core.values import App, Region
from leeward.instance.settings import Endpoint, Layout, ManagerSettings, find_binaries
from leeward.instance.walrelay.messages import query
from leeward.instance.walrelay.prefetch import TESTED_MAJORS
from leeward.instance.walrelay.proxy import WalProxy, _Connection
from tests.instance.walrelay.test_prefetch import (
    COPY_DONE,
    HISTORY,
    IDENTIFY,
    LAST,
    LOGIN,
    OWN,
    STREAM,
    login,
    start,
    status,
    wal,
)
from tests.instance.walrelay.test_standby_session import GOODBYE, PROMOTED, SEGMENT, SLOTLESS, says
from tests.kit.waiting import until

STARTUP = struct.pack("!II", 22, 196608) + b"user\x00replica\x00\x00"
READY = b"Z\x00\x00\x00\x05I"
SOON_S = 1.0
LONG_S = 30.0

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def carried(home: Path, answer: Answer, answer_timeout_s: float) -> AsyncIterator[Line]:
    """A connection through a WAL proxy to an upstream that behaves as told."""
    upstream = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        async with carried_to(upstream.sockets[0].getsockname()[1], home, answer_timeout_s) as line:
            yield line
    finally:
        upstream.close()


@asynccontextmanager
async def carried_to(port: int, home: Path, answer_timeout_s: float) -> AsyncIterator[Line]:
    """A connection through a WAL proxy to an upstream that listens on a port."""
    async with proxy_to(port, home, answer_timeout_s) as (_, line):
        yield line


@asynccontextmanager
async def proxy_to(
    port: int, home: Path, answer_timeout_s: float, *, wal_prefetch: bool = True
) -> AsyncIterator[tuple[WalProxy, Line]]:
    """The WAL proxy itself, and such a connection."""
    nowhere = home / "nowhere"
    settings = ManagerSettings(
        region=Region("here"),
        app=App("payments"),
        listen=Endpoint("127.0.0.1", 0),
        postgres=Endpoint("127.0.0.1", 0),
        layout=Layout(home),
        identity_dir=nowhere,
        upstreams={Region("there"): Endpoint("127.0.0.1", port)},
        database="payments",
        owner="payments",
        password_file=nowhere,
        replication_password_file=nowhere,
        binaries=nowhere,
        wal_retention=0.5,
        wal_prefetch=wal_prefetch,
    )
    proxy = WalProxy(settings, "secret", answer_timeout_s=answer_timeout_s)
    await proxy.start()
    source = settings.wal_sources[Region("there")]
    reader, writer = await asyncio.open_unix_connection(f"{source.host}/.s.PGSQL.{source.port}")
    try:
        async with asyncio.timeout(LONG_S):
            yield proxy, (reader, writer)
    finally:
        writer.close()
        await proxy.close()


async def log_in(line: Line) -> None:
    """As PostgreSQL does: nothing is requested before the upstream has answered to the login."""
    reader, writer = line
    writer.write(STARTUP)
    assert await reader.readexactly(len(LOGIN)) == LOGIN


async def test_an_upstream_that_falls_silent_is_given_up(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        ended.set()
        writer.close()

    async with carried(tmp_path, say_nothing, SOON_S) as (reader, writer):
        writer.write(STARTUP)
        assert await reader.read() == b""
        await ended.wait()


async def test_a_wal_receiver_that_asks_nothing_is_left_in_peace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Time passes while nothing is asked, and only then: a busy machine makes no answer late.
    now_s = 0.0
    monkeypatch.setattr(_Connection, "_now_s", lambda _: now_s)

    async def answer_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            writer.write(READY)
        writer.close()

    async with carried(tmp_path, answer_each, SOON_S) as (reader, writer):
        writer.write(STARTUP)
        assert await reader.readexactly(len(READY)) == READY
        # As it does while its PostgreSQL still replays: longer than an answer may take.
        now_s += 3 * SOON_S
        await asyncio.sleep(3 * SOON_S)
        writer.write(b"Q\x00\x00\x00\x05\x00")
        assert await reader.readexactly(len(READY)) == READY


async def test_a_request_to_stream_waits_for_a_silent_standby_session_no_longer_than_a_moment(tmp_path: Path) -> None:
    request = query(b"START_REPLICATION 0/3000000 TIMELINE 1")
    requested: list[bytes] = []

    async def answer_the_wal_receiver_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(len(STARTUP)) == STARTUP:
            writer.write(LOGIN)
            requested.append(await reader.readexactly(len(request)))
            writer.write(READY)
        await reader.read()
        writer.close()

    async with carried(tmp_path, answer_the_wal_receiver_only, LONG_S) as (reader, writer):
        await log_in((reader, writer))
        writer.write(request)
        assert await reader.readexactly(len(READY)) == READY
    assert requested == [request]


async def test_a_request_to_stream_waits_no_longer_for_a_standby_session_that_cannot_connect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leeward.instance.walrelay.proxy._CONNECT_TIMEOUT_S", 2 * LONG_S)
    request = query(b"START_REPLICATION 0/3000000 TIMELINE 1")
    with socket.create_server(("127.0.0.1", 0), backlog=0) as upstream, socket.socket() as filler:
        upstream.setblocking(False)
        filler.setblocking(False)
        address = upstream.getsockname()

        def refused() -> bool:
            lines = psutil.Process(os.getpid()).net_connections("tcp4")
            return any(line.raddr == address and line.status == psutil.CONN_SYN_SENT for line in lines)

        async with carried_to(address[1], tmp_path, LONG_S) as (reader, writer):
            writer.write(STARTUP)
            # The first connection is all that fits in before somebody accepts it; then something else takes its place.
            await until(refused)
            accepted, _ = upstream.accept()
            filler.connect_ex(address)
            loop = asyncio.get_running_loop()
            with accepted:
                accepted.setblocking(False)
                assert await loop.sock_recv(accepted, 1024) == STARTUP
                await loop.sock_sendall(accepted, LOGIN)
                assert await reader.readexactly(len(LOGIN)) == LOGIN
                writer.write(request)
                assert await loop.sock_recv(accepted, 1024) == request
                await loop.sock_sendall(accepted, READY)
                assert await reader.readexactly(len(READY)) == READY


async def test_a_standby_session_that_takes_over_where_nobody_was_promoted_starts_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leeward.instance.walrelay.proxy._FIRST_ANSWER_TIMEOUT_S", LONG_S)
    taken_over = asyncio.Event()
    request = start(SEGMENT, 1)

    async def follow_another_timeline(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opening = await reader.readexactly(len(STARTUP))
        if opening == STARTUP:
            writer.write(LOGIN)
            if taken_over.is_set():
                # Now with its slot, and at once.
                assert await reader.readexactly(len(request)) == request
                writer.write(READY)
                await reader.read()
            else:
                assert await reader.readexactly(len(SLOTLESS)) == SLOTLESS
                writer.write(STREAM + wal(SEGMENT, bytes(LAST - SEGMENT)) + COPY_DONE)
                assert await reader.read() == GOODBYE
                taken_over.set()
        else:
            writer.write(says(recovering=True))
            await reader.read()
        writer.close()

    # It would be given up anyhow, much later.
    async with carried(tmp_path, follow_another_timeline, 2 * LONG_S) as (reader, writer):
        await log_in((reader, writer))
        writer.write(request)
        await reader.readuntil(COPY_DONE)
        writer.write(COPY_DONE + HISTORY + IDENTIFY + start(SEGMENT, 2))
        await taken_over.wait()
        assert await reader.read() == b""
        again, to_upstream = await asyncio.open_unix_connection(writer.get_extra_info("peername"))
        await log_in((again, to_upstream))
        to_upstream.write(request)
        assert await again.readexactly(len(READY)) == READY
        to_upstream.close()


async def test_a_standby_session_that_takes_over_at_once_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Granted and ended within one packet, the old timeline is never seen streaming: the promotion came between."""
    for patience in ("_FIRST_ANSWER_TIMEOUT_S", "_PROMOTED_TIMEOUT_S"):
        monkeypatch.setattr(f"leeward.instance.walrelay.proxy.{patience}", LONG_S)

    async def be_promoted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(len(STARTUP)) == STARTUP:
            writer.write(LOGIN)
            assert await reader.readexactly(len(SLOTLESS)) == SLOTLESS
            writer.write(STREAM + wal(SEGMENT, bytes(LAST - SEGMENT)) + COPY_DONE)
            assert await reader.read() == GOODBYE
        else:
            writer.write(says(recovering=True))
            await reader.readuntil(start(LAST, 2))
            writer.write(PROMOTED + wal(LAST, b"new"))
            await reader.read()
        writer.close()

    upstream = await asyncio.start_server(be_promoted, "127.0.0.1", 0)
    port = upstream.sockets[0].getsockname()[1]
    async with upstream, proxy_to(port, tmp_path, 2 * LONG_S) as (proxy, (reader, writer)):
        pg_wal = tmp_path / "pgdata" / "pg_wal"
        pg_wal.mkdir(parents=True)
        (pg_wal / "000000010000000000000003").write_bytes(OWN)
        await log_in((reader, writer))
        writer.write(start(SEGMENT, 1))
        await reader.readuntil(COPY_DONE)
        assert not proxy.streams_from(Region("there"))
        writer.write(COPY_DONE + HISTORY + IDENTIFY + start(SEGMENT, 2))
        await reader.readuntil(b"new")
        assert proxy.streams_from(Region("there"))


@pytest.mark.parametrize(
    ("wal_prefetch", "version", "warnings"),
    [
        pytest.param(True, "19.1", ["PostgreSQL 19 is not a tested version"], id="a version that was not tested"),
        pytest.param(False, "18.4", [], id="switched off"),
        pytest.param(False, "19.1", [], id="switched off with such a version"),
    ],
)
async def test_without_asking_ahead_wal_streams_and_claims_stay_limited(
    tmp_path: Path, wal_prefetch: bool, version: str, warnings: list[str]
) -> None:
    claimed: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    request, claim = start(SEGMENT, 1), status(LAST + 9, LAST + 9, LAST)

    async def be_the_upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(len(STARTUP)) == STARTUP:
            writer.write(login(version))
            assert await reader.readexactly(len(request)) == request
            writer.write(STREAM + wal(SEGMENT, bytes(LAST - SEGMENT)))
            claimed.set_result(await reader.readexactly(len(claim)))
        await reader.read()
        writer.close()

    upstream = await asyncio.start_server(be_the_upstream, "127.0.0.1", 0)
    port = upstream.sockets[0].getsockname()[1]
    with capture_logs() as logs:
        async with upstream, proxy_to(port, tmp_path, LONG_S, wal_prefetch=wal_prefetch) as (proxy, (reader, writer)):
            writer.write(STARTUP)
            await reader.readexactly(len(login(version)))
            writer.write(request)
            await reader.readexactly(len(STREAM + wal(SEGMENT, bytes(LAST - SEGMENT))))
            assert proxy.streams_from(Region("there"))
            writer.write(claim)
            assert await claimed == status(LAST, LAST, LAST)
    assert [each["because"] for each in logs if each["log_level"] == "warning"] == warnings


@pytest.mark.engine
def test_the_postgresql_that_is_shipped_is_a_version_that_was_tested() -> None:
    """Before another one is added here, tests/instance passes with it (docs/decisions)."""
    postgres = find_binaries() / "postgres"
    reported = subprocess.run([postgres, "--version"], check=True, capture_output=True, text=True).stdout
    assert int(reported.split()[2].partition(".")[0]) in TESTED_MAJORS


async def test_when_one_side_ends_so_does_the_other(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def wait_for_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(READY)
        await reader.read()
        ended.set()
        writer.close()

    async with carried(tmp_path, wait_for_the_end, LONG_S) as (reader, writer):
        assert await reader.readexactly(len(READY)) == READY
        writer.close()
        await ended.wait()


async def test_an_upstream_that_is_not_there_ends_the_connection(tmp_path: Path) -> None:
    async def leave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with carried(tmp_path, leave, LONG_S) as (reader, writer):
        writer.write(STARTUP)
        assert await reader.read() == b""


async def test_what_is_not_postgresql_ends_the_connection(tmp_path: Path) -> None:
    async def be_a_web_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    async with carried(tmp_path, be_a_web_server, LONG_S) as (reader, _):
        assert await reader.read() == b""
