"""Carry connections between two places, as a wide-area link would: later, slower, or not at all.

A ``Link`` is one direction; everything that crosses it shares its fate. Always true: bytes never arrive
early, never out of order, and a change of a link takes effect at once, for bytes under way as well. A cut
is a black hole: bytes wait (in bounded queues, then in the senders' sockets) and arrive after healing.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import cast

QUEUE_MAX = 4 << 20
"""Bytes under way per connection and direction; then the sender feels it, as with a full window."""
WRITE_BUFFER_MAX = 1 << 18
SLICE = 1460
"""A limited link carries this many bytes at a time, a packet's worth, so that connections take turns."""
CONNECT_TIMEOUT_S = 130.0
BACKLOG = 1024
TICK_S = 0.001
"""Resolution of the event loop's timers."""


log = logging.getLogger(__name__)


class _Mark(Enum):
    END = auto()
    RESET = auto()


class Link:
    """One direction between two places."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.rate_bytes_s: float | None = None
        self.cut = False
        self.healed_s = -math.inf
        self._free_s = -math.inf
        """When the last byte sent has left a link of limited rate."""
        self._turns: deque[_Stream] = deque()
        self._turn: asyncio.Handle | None = None
        self.streams: set[_Stream] = set()
        self._changed = asyncio.Event()

    def change(self, *, cut: bool, delay_s: float, rate_bytes_s: float | None) -> None:
        """Make the link so, now."""
        if self.cut and not cut:
            self.healed_s = time.monotonic()
        self.cut, self.delay_s, self.rate_bytes_s = cut, delay_s, rate_bytes_s
        self._free_s = -math.inf
        self._turns.clear()
        self._changed.set()
        self._changed = asyncio.Event()
        for stream in tuple(self.streams):
            stream.pump()

    def queue_up(self, stream: _Stream) -> None:
        """Let a stream carry one slice when it is its turn: nobody starves on a link of limited rate."""
        if stream not in self._turns:
            self._turns.append(stream)
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._next_turn)

    def occupy(self, count: int) -> None:
        """Be busy for as long as these bytes take."""
        assert self.rate_bytes_s is not None
        self._free_s = max(self._free_s, time.monotonic()) + count / self.rate_bytes_s

    def _next_turn(self) -> None:
        while self._turns:
            wait_s = self._free_s - time.monotonic()
            if wait_s > 0:
                self._turn = asyncio.get_running_loop().call_later(_ticks(wait_s), self._next_turn)
                return
            self._turns.popleft().pump(turn=True)
        self._turn = None

    async def cross(self) -> None:
        """Wait as long as one packet sent now takes; without end while the link is cut."""
        sent_s = time.monotonic()
        while True:
            wait_s = max(sent_s, self.healed_s) + self.delay_s - time.monotonic()
            if wait_s <= 0 and not self.cut:
                return
            try:
                async with asyncio.timeout(None if self.cut else _ticks(wait_s)):
                    await self._changed.wait()
            except TimeoutError:
                continue


class _Stream:
    """One direction of one connection: what was read on one side and not yet written on the other."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.source: _Side | None = None
        self.sink: _Side | None = None
        self.established_s = math.inf
        self.blocked = False
        self.ended = False
        self._closed = False
        self._queue: deque[tuple[float, bytes | _Mark]] = deque()
        self.queued = 0
        self._throttled = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        link.streams.add(self)

    def put(self, item: bytes | _Mark) -> None:
        """Take what the source sent."""
        if self._closed:
            return
        self._queue.append((time.monotonic(), item))
        if isinstance(item, bytes):
            self.queued += len(item)
            if self.queued > QUEUE_MAX and not self._throttled and self.source is not None:
                self._throttled = True
                self.source.pause()
        if self._timer is None:
            self.pump()

    def establish(self) -> None:
        """Both ends are connected: let it flow."""
        self.established_s = time.monotonic()
        self.pump()

    def pump(self, *, turn: bool = False) -> None:
        """Deliver what is due and come back for the next. ``turn``: one slice may pass a limited link."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        link, queue = self.link, self._queue
        while queue and self.sink is not None and not link.cut and not self.blocked:
            sent_s, item = queue[0]
            due_s = max(sent_s, link.healed_s, self.established_s) + link.delay_s
            if due_s == math.inf:
                return
            wait_s = due_s - time.monotonic()
            if wait_s > 0:
                self._timer = self._loop.call_later(_ticks(wait_s), self.pump)
                return
            if link.rate_bytes_s is not None and isinstance(item, bytes):
                if not turn:
                    link.queue_up(self)
                    return
                turn = False
                if len(item) > SLICE:
                    queue[0] = (sent_s, item[SLICE:])
                    item = item[:SLICE]
                else:
                    queue.popleft()
                link.occupy(len(item))
            else:
                queue.popleft()
            self._deliver(self.sink, item)

    def _deliver(self, sink: _Side, item: bytes | _Mark) -> None:
        if item is _Mark.END:
            self.ended = True
            sink.end()
        elif item is _Mark.RESET:
            sink.reset()
        elif isinstance(item, bytes):
            self.queued -= len(item)
            sink.write(item)
            if self._throttled and self.queued < QUEUE_MAX // 2 and self.source is not None:
                self._throttled = False
                self.source.resume()

    def close(self) -> None:
        """Nobody is left to read: drop what is under way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._queue.clear()
        self._closed = True
        self.sink = None
        self.link.streams.discard(self)


class _Side(asyncio.Protocol):
    """One end of a connection: what it reads goes out, what comes in it writes."""

    def __init__(self, relay: _Relay, outgoing: _Stream, incoming: _Stream) -> None:
        self._relay = relay
        self._outgoing = outgoing
        self._incoming = incoming
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(WRITE_BUFFER_MAX)
        self._outgoing.source = self
        self._incoming.sink = self
        self._relay.connected(self)

    def data_received(self, data: bytes) -> None:
        self._outgoing.put(data)

    def eof_received(self) -> bool:
        if self._relay.hopeless():
            self.reset()
        else:
            self._outgoing.put(_Mark.END)
        return True  # the other direction may go on

    def pause_writing(self) -> None:
        self._incoming.blocked = True

    def resume_writing(self) -> None:
        self._incoming.blocked = False
        self._incoming.pump()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._outgoing.source = None
        self._incoming.close()
        self._relay.lost(self)

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def end(self) -> None:
        """Close our half; all of it when the other half is closed too."""
        if self._transport is None:
            return
        if self._outgoing.ended:
            self._relay.close()
        elif self._transport.can_write_eof():
            self._transport.write_eof()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Close as a refused or broken connection is: the peer sees a reset."""
        if self._transport is None:
            return
        handle = self._transport.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def pause(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()


class _Relay:
    """One connection from the caller to whom it called."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self.there = _Stream(door.there)
        self.back = _Stream(door.back)
        self.caller = _Side(self, self.there, self.back)
        self._called = _Side(self, self.back, self.there)
        self._established = False
        self._closing = False
        self.connecting: asyncio.Task[None] | None = None

    def connected(self, side: _Side) -> None:
        if side is self.caller:
            self._door.relays.add(self)
            self.connecting = asyncio.get_running_loop().create_task(self._connect())

    def hopeless(self) -> bool:
        """Whether the caller, who hangs up now, gave up on a connection that never was."""
        return not self._established and (self._door.there.cut or self._door.back.cut)

    def lost(self, side: _Side) -> None:
        """One side is gone: tell the other one, as late as the link says."""
        if side is self.caller and not self._established:
            self.abort()
        other, news = (self._called, self.there) if side is self.caller else (self.caller, self.back)
        if not other.is_open:
            self._finish()
        elif not self._closing:
            news.put(_Mark.RESET)

    def close(self) -> None:
        self._closing = True
        self.caller.close()
        self._called.close()

    def abort(self) -> None:
        self._closing = True
        if self.connecting is not None:
            self.connecting.cancel()
        self.caller.reset()
        self._called.reset()

    def _finish(self) -> None:
        self.there.close()
        self.back.close()
        self._door.relays.discard(self)

    async def _connect(self) -> None:
        await self._door.there.cross()
        try:
            await self._dial()
        except OSError as error:  # a TimeoutError is one, too
            log.debug("%s:%d: %s", *self._door.address, error)
            await self._door.back.cross()
            self.caller.reset()
            return
        self.back.establish()
        await self._door.back.cross()
        self._established = True
        self.there.establish()

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        handle = self._door.dial()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.sock_connect(handle, self._door.address)
                await loop.create_connection(lambda: self._called, sock=handle)
        except BaseException:
            handle.close()
            raise


class Door:
    """A listening socket here that leads to an address there."""

    def __init__(self, address: tuple[str, int], dial: Callable[[], socket.socket], there: Link, back: Link) -> None:
        self.address = address
        self.dial = dial
        self.there = there
        self.back = back
        self.relays: set[_Relay] = set()
        self._server: asyncio.Server | None = None

    async def open(self, listening: socket.socket) -> None:
        """Start to accept callers."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Relay(self).caller, sock=listening, backlog=BACKLOG
        )

    async def close(self) -> None:
        """Stop, and break what is connected."""
        if self._server is not None:
            self._server.close()
        relays = tuple(self.relays)
        for relay in relays:
            relay.abort()
        await asyncio.gather(*(relay.connecting for relay in relays if relay.connecting), return_exceptions=True)


def _ticks(wait_s: float) -> float:
    """Round up to what the loop's timers can do: they may come late, and must not come early and often."""
    return max(1, math.ceil(wait_s / TICK_S)) * TICK_S
