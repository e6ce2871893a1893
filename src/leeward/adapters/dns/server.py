"""The server's sockets: UDP and TCP on one address and port.

Each datagram is answered where it arrives, without waiting for anything. A TCP connection may ask one question after
another, and must not be slow; there are only so many.
"""

import asyncio
import struct
from types import TracebackType
from typing import Self, cast

from leeward.adapters.dns.wire import Ask, Responder, plain_address

CONNECTIONS_MAX = 128
IDLE_S = 10.0
LENGTH = struct.Struct("!H")


class DnsServer:
    """Answers on one address and port while its context is open."""

    def __init__(self, host: str, port: int, ask: Ask) -> None:
        self._host = host
        self._port = port
        self._responder = Responder(ask)
        self._transport: asyncio.DatagramTransport | None = None
        self._listener: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

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
        """Stop listening, and hang up on whoever is connected."""
        if self._transport is not None:
            self._transport.close()
        if self._listener is not None:
            self._listener.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def port(self) -> int:
        """The port in use: that asked for, or a free one for 0."""
        return self._port

    def forget(self) -> None:
        """Answer everything anew: something has changed."""
        self._responder.forget()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "connections are served by tasks"
        if len(self._connections) >= CONNECTIONS_MAX:
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            # It went away, or was too slow: it may come back.
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = plain_address(writer.get_extra_info("peername")[0])
        while True:
            async with asyncio.timeout(IDLE_S):
                (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                response = self._responder.respond(await reader.readexactly(length), client, tcp=True)
                if response is None:
                    return
                writer.write(LENGTH.pack(len(response)) + response)
                await writer.drain()


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
