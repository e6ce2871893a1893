"""The server's sockets: UDP and TCP on one address and port.

Each datagram is answered where it arrives, without waiting for anything. A TCP connection may ask one question after
another (RFC 7766). There are only so many, in all and per client: when they are too many, the idlest is closed, and one
that never asked goes first. A question that has begun must arrive soon, and an answer must be taken soon.
"""

import asyncio
import struct
from types import TracebackType
from typing import Self, cast

from leeward.adapters.dns.wire import Ask, Responder, plain_address
from leeward.core.connections import Connections, client_of

CONNECTIONS_MAX = 128
PER_CLIENT_MAX = 32
"""Of these; resolvers behind one address share them."""
IDLE_S = 10.0
"""Between two questions."""
FIRST_S = 3.0
"""Until the first question of a connection has begun."""
MESSAGE_S = 3.0
"""For the rest of a question, and for taking its answer."""
LENGTH = struct.Struct("!H")


class DnsServer:
    """Serves DNS on one address and port while its context is open."""

    def __init__(self, host: str, port: int, ask: Ask) -> None:
        self._host = host
        self._port = port
        self._responder = Responder(ask)
        self._transport: asyncio.DatagramTransport | None = None
        self._listener: asyncio.Server | None = None
        self._connections: Connections[asyncio.StreamWriter] = Connections(CONNECTIONS_MAX, PER_CLIENT_MAX)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Listen. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._listener = await asyncio.start_server(self._accept, self._host, self._port)
        self._port = self._listener.sockets[0].getsockname()[1]
        try:
            self._transport, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self._responder), local_addr=(self._host, self._port)
            )
        except BaseException:
            self._listener.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening, and close every connection."""
        if self._transport is not None:
            self._transport.close()
        if self._listener is not None:
            self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        """The port in use: that asked for, or a free one for 0."""
        return self._port

    def clear_cache(self) -> None:
        """Drop all cached answers: something has changed."""
        self._responder.clear_cache()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task, peer = asyncio.current_task(), writer.get_extra_info("peername")
        assert task is not None, "connections are served by tasks"
        if peer is None:
            writer.transport.abort()  # it went away before it was looked at
            return
        now_s = asyncio.get_running_loop().time()
        admission = self._connections.admit(writer, client_of(peer[0]), now_s)
        if admission.close is not None:
            admission.close.transport.abort()
        if not admission.admitted:
            writer.transport.abort()
            return
        self._tasks.add(task)
        try:
            await self._serve(reader, writer, plain_address(peer[0]))
            writer.close()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            # It went away, or was too slow: it may come back.
            pass
        finally:
            self._tasks.discard(task)
            self._connections.drop(writer)
            if writer.transport.get_write_buffer_size() or not writer.is_closing():
                # What it has not taken in time is not kept for it.
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: str) -> None:
        patience_s = FIRST_S
        while True:
            async with asyncio.timeout(patience_s):
                begun = await reader.readexactly(1)
            async with asyncio.timeout(MESSAGE_S):
                (length,) = LENGTH.unpack(begun + await reader.readexactly(LENGTH.size - 1))
                response = self._responder.respond(await reader.readexactly(length), client, tcp=True)
                if response is None:
                    return
                # Answered without waiting: from here on it counts as used, and is idle again.
                self._connections.begin(writer)
                self._connections.end(writer, asyncio.get_running_loop().time())
                writer.write(LENGTH.pack(len(response)) + response)
                await writer.drain()
            patience_s = IDLE_S


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        response = self._responder.respond(data, plain_address(addr[0]))
        if response is not None:
            self._transport.sendto(response, addr)
