"""The relay alone, between two ports of the loopback."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from leeward.world.link import QUEUE_MAX, Link, Stream
from leeward.world.namespaces import dialer, listener
from leeward.world.relay import RelayListener
from tests.kit.waiting import until

PATIENCE_S = 60.0
DELAY_S = 0.03


class Sink:
    """An end that keeps what comes."""

    def __init__(self, came: list[bytes]) -> None:
        self.write = came.append


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Route:
    """A listener with a link each way; callers come in at ``port``."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.there, self.back = Link(DELAY_S), Link(DELAY_S)
        self.listener = RelayListener(target, dialer, self.there, self.back)
        self.handle = listener("127.0.0.1", 0)
        self.port = int(self.handle.getsockname()[1])

    def cut(self, cut: bool) -> None:
        for link in (self.there, self.back):
            link.change(cut=cut, delay_s=DELAY_S, rate_bytes_s=None)


@asynccontextmanager
async def path_to(serve: Serve | None) -> AsyncIterator[Route]:
    served: list[asyncio.StreamWriter] = []

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(writer)
        if serve is not None:
            await serve(reader, writer)

    # Where nobody serves, the port is taken but not listened on: nobody else gets it meanwhile.
    handle = socket.socket() if serve is None else listener("127.0.0.1", 0)
    server = None
    if serve is None:
        handle.bind(("127.0.0.1", 0))
    else:
        server = await asyncio.start_server(serve_one, sock=handle)
    path = Route(handle.getsockname())
    await path.listener.open(path.handle)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield path
    finally:
        await path.listener.close()
        if server is not None:
            server.close()
        handle.close()
        # The other side's reset may not have come yet, and what the loop leaves open is an error when it is collected.
        for writer in served:
            writer.transport.abort()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"bye")
    writer.close()


async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def call(path: Route) -> Streams:
    return await asyncio.open_connection("127.0.0.1", path.port)


async def test_a_dial_that_fails_in_whatever_way_is_a_reset() -> None:
    def no_thread() -> socket.socket:
        raise RuntimeError("can't start new thread")

    async with path_to(echo) as path:
        path.listener.dial = no_thread
        reader, writer = await call(path)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await until(lambda: not path.listener.relays, "the relay is gone")


async def test_a_stream_that_cannot_be_pumped_takes_no_turn_from_the_others() -> None:
    link = Link()
    link.change(cut=False, delay_s=0.0, rate_bytes_s=1e6)
    broken, other = (Stream(link) for _ in range(2))
    came = list[bytes]()

    def refuse(**_: object) -> None:
        raise RuntimeError("it cannot be pumped")

    other.sink = Sink(came)
    raised = list[BaseException]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: raised.append(context["exception"]))
    broken.pump = refuse  # type: ignore[method-assign]
    link.queue_up(broken)
    other.establish()
    other.put(b"x")
    await until(lambda: came == [b"x"], "the other stream has its turn")
    link.queue_up(broken)
    await until(lambda: len(raised) == 2)
    other.put(b"y")
    await until(lambda: came == [b"x", b"y"], "and another one")
    for stream in (broken, other):
        stream.close()


async def test_each_direction_takes_its_delay() -> None:
    async with path_to(echo) as path:
        # The handshake goes on while the caller is already connected.
        started_s = time.monotonic()
        reader, writer = await call(path)
        writer.write(b"x")
        await reader.readexactly(1)
        assert time.monotonic() - started_s >= 4 * DELAY_S, "the handshake and the byte"
        writer.close()


async def test_the_end_of_one_side_reaches_the_other_after_its_bytes() -> None:
    async with path_to(hang_up) as path:
        reader, writer = await call(path)
        assert await reader.read() == b"bye"
        writer.close()


async def test_nobody_there_is_a_reset() -> None:
    async with path_to(None) as path:
        reader, writer = await call(path)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_a_reset_is_a_reset_on_the_other_side() -> None:
    async with path_to(break_off) as path:
        reader, writer = await call(path)
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_a_slow_reader_holds_the_sender_back() -> None:
    served: list[asyncio.StreamReader] = []

    async def never_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(reader)
        await asyncio.Event().wait()
        writer.close()

    async with path_to(never_read) as path:
        path.cut(True)
        _reader, writer = await call(path)
        writer.write(bytes(8 * QUEUE_MAX))
        await until(lambda: bool(path.there.streams), "the caller is in")
        (stream,) = path.there.streams
        await until(lambda: stream.queued > QUEUE_MAX, "the queue is full")
        for _ in range(100):
            await asyncio.sleep(0.001)
        assert stream.queued < 2 * QUEUE_MAX
        assert writer.transport.get_write_buffer_size() > 0
        writer.transport.abort()


async def test_relays_do_not_pile_up() -> None:
    async with path_to(echo) as path:
        for _ in range(20):
            reader, writer = await call(path)
            writer.write(b"x")
            writer.write_eof()
            assert await reader.read() == b"x"
            writer.close()
        await until(lambda: not path.listener.relays, "the relay is gone")
        assert not path.there.streams
        assert not path.back.streams


async def test_callers_who_give_up_during_a_cut_are_forgotten() -> None:
    async with path_to(echo) as path:
        path.cut(True)
        _reader, writer = await call(path)
        await until(lambda: bool(path.listener.relays), "the caller is in")
        writer.close()
        await until(lambda: not path.listener.relays, "the relay is gone")
