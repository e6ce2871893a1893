"""Relay connections between two places as a wide-area link would: with delay, limited rate, and cuts.

A ``Link`` (``world.link``) is one direction, shared by all connections; a relay is one connection over a pair of them.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

import structlog

from leeward.world.link import Link, Mark, Stream

WRITE_BUFFER_MAX = 1 << 18
CONNECT_TIMEOUT_S = 130.0
BACKLOG = 1024


log = structlog.get_logger()


class _Side(asyncio.Protocol):
    """One end of a connection: what it reads goes out, what comes in it writes."""

    def __init__(self, relay: _Relay, outgoing: Stream, incoming: Stream) -> None:
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
        if self._relay.never_established():
            self.reset()
        else:
            self._outgoing.put(Mark.END)
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
    """One connection between a caller and the address it called."""

    def __init__(self, listener: RelayListener) -> None:
        self._listener = listener
        self.there = Stream(listener.there)
        self.back = Stream(listener.back)
        self.caller = _Side(self, self.there, self.back)
        self._called = _Side(self, self.back, self.there)
        self._established = False
        self._closing = False
        self.connecting: asyncio.Task[None] | None = None

    def connected(self, side: _Side) -> None:
        if side is self.caller:
            self._listener.relays.add(self)
            self.connecting = asyncio.get_running_loop().create_task(self._connect())

    def never_established(self) -> bool:
        """Whether the caller, which closes now, gave up on a connection that a cut link prevented."""
        return not self._established and (self._listener.there.cut or self._listener.back.cut)

    def lost(self, side: _Side) -> None:
        """One side is gone: reset the other one, after the delay of the link."""
        if side is self.caller and not self._established:
            self.abort()
        other, arriving = (self._called, self.there) if side is self.caller else (self.caller, self.back)
        if not other.is_open:
            self._finish()
        elif not self._closing:
            arriving.put(Mark.RESET)

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
        self._listener.relays.discard(self)

    async def _connect(self) -> None:
        await self._listener.there.cross()
        try:
            await self._dial()
        except OSError as error:  # a TimeoutError is one, too
            log.debug("%s:%d: %s", *self._listener.address, error)
            await self._listener.back.cross()
            self.caller.reset()
            return
        except Exception:
            # As when no thread can be started in the region's network: the caller must not wait for ever.
            log.exception("failed to dial %s:%d", *self._listener.address)
            self.caller.reset()
            return
        self.back.establish()
        await self._listener.back.cross()
        self._established = True
        self.there.establish()

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        handle = self._listener.dial()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.sock_connect(handle, self._listener.address)
                await loop.create_connection(lambda: self._called, sock=handle)
        except BaseException:
            handle.close()
            raise


class RelayListener:
    """A listening socket here that leads to an address there."""

    def __init__(self, address: tuple[str, int], dial: Callable[[], socket.socket], there: Link, back: Link) -> None:
        self.address = address
        self.dial = dial
        self.there = there
        self.back = back
        self.relays: set[_Relay] = set()
        self._server: asyncio.Server | None = None

    async def open(self, listening: socket.socket) -> None:
        """Start accepting connections."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Relay(self).caller, sock=listening, backlog=BACKLOG
        )

    async def close(self) -> None:
        """Stop, and break open connections."""
        if self._server is not None:
            self._server.close()
        relays = tuple(self.relays)
        for relay in relays:
            relay.abort()
        await asyncio.gather(*(relay.connecting for relay in relays if relay.connecting), return_exceptions=True)
