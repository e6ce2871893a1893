"""Serve an aiohttp application over TLS, with limits on connections.

Always true: connections are counted before their handshake, in all and per client, and each part has its time: the
handshake, a request's head, its body (``bodies``), and how long a connection may do nothing.
"""

import asyncio
import contextlib
import logging
import socket
import traceback
from dataclasses import dataclass
from functools import partial
from typing import Self

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from leeward.core.connections import Connections, client_of
from leeward.kit.http.answers import new_request_id
from leeward.kit.http.handshakes import Reason, Refused, RefusedHandshakeError
from leeward.kit.http.questions import shown
from leeward.kit.http.refusals import Refusals
from leeward.kit.http.tls_files import TlsFiles

log = structlog.get_logger()

BACKLOG = 128
ACCEPT_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """A server's limits on connections."""

    in_all: int = 256
    per_client: int = 64
    """Of these from one address; several agents behind one NAT have one."""
    handshake_s: float = 5.0
    idle_s: float = 75.0
    """Without a whole head of a request. Longer than our clients keep connections: theirs are not closed on them."""
    linger_s: float = 0.5
    """For what else a refused client sends."""
    shutdown_s: float = 1.0


class _Connection:
    """One accepted connection, from before its handshake."""

    def __init__(self, accepted: socket.socket, client: str) -> None:
        self.accepted = accepted
        self.client = client
        self.handshake: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport | None = None

    def abort(self) -> None:
        """Close it at once, whatever is still to be sent."""
        if self.transport is not None:
            self.transport.abort()
        elif self.handshake is not None:
            self.handshake.cancel()


class HttpServer:
    """Serves one application on one address while its context is open."""

    def __init__(
        self,
        app: web.Application,
        host: str,
        port: int,
        tls: TlsFiles,
        refusals: Refusals,
        limits: ServerLimits | None = None,
    ) -> None:
        """``refusals``: takes in every handshake that is refused."""
        limits = limits or ServerLimits()
        self._address = (host, port)
        self._tls = tls
        self._refusals = refusals
        self._limits = limits
        app.middlewares.insert(0, self._counted)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=limits.idle_s,
            lingering_time=limits.linger_s,
            logger=one_line_logger(),
            shutdown_timeout=limits.shutdown_s,
        )
        self._connections: Connections[_Connection] = Connections(limits.in_all, limits.per_client)
        self._established: dict[asyncio.BaseProtocol, _Connection] = {}
        self._handshakes: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None
        self._listening: socket.socket | None = None

    async def __aenter__(self) -> Self:
        """Listen. Raises OSError."""
        await self._runner.setup()
        try:
            self._listening = await _listen(*self._address)
        except BaseException:
            await self._runner.cleanup()
            raise
        self._accepting = asyncio.create_task(self._accept(self._listening), name="accept connections")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening, and close every connection."""
        assert self._accepting is not None, "the context is open"
        assert self._listening is not None, "the context is open"
        tasks = [self._accepting, *self._handshakes]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listening.close()
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port in use: that asked for, or a free one for 0."""
        assert self._listening is not None, "the context is open"
        return int(self._listening.getsockname()[1])

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:
                log.warning("cannot accept connections; retrying", because=str(error))
                await asyncio.sleep(ACCEPT_AGAIN_S)
                continue
            self._forget_closed()
            connection = _Connection(accepted, client_of(address[0]))
            admission = self._connections.admit(connection, connection.client, loop.time())
            if admission.close is not None:
                admission.close.abort()
            if not admission.admitted:
                accepted.close()
                continue
            connection.handshake = asyncio.create_task(self._establish(connection), name="TLS handshake")
            self._handshakes.add(connection.handshake)
            connection.handshake.add_done_callback(partial(self._handshake_ended, connection))

    async def _establish(self, connection: _Connection) -> None:
        loop, server = asyncio.get_running_loop(), self._runner.server
        assert server is not None, "the runner is set up"
        # Not what the loop returns: uvloop's is the protocol of TLS, which requests do not name.
        protocol = server()
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                connection.accepted,
                ssl=self._tls(),
                ssl_handshake_timeout=self._limits.handshake_s,
                ssl_shutdown_timeout=self._limits.shutdown_s,
            )
        except OSError as error:
            # A traceback that refers to itself keeps 256 KiB of buffer for each probe of the port, until all garbage is
            # collected (cpython 109534).
            traceback.clear_frames(error.__traceback__)
            if isinstance(error, RefusedHandshakeError):
                self._refusals.note(connection.client, error.refused, loop.time())
            elif isinstance(error, ConnectionAbortedError):
                slow = Refused(Reason.TOO_SLOW, f"no handshake within {self._limits.handshake_s:g} s")
                self._refusals.note(connection.client, slow, loop.time())
            # Otherwise the client went away, as a probe of the port does.
            return
        connection.transport = transport
        self._established[protocol] = connection

    def _handshake_ended(self, connection: _Connection, task: "asyncio.Task[None]") -> None:
        self._handshakes.discard(task)
        if connection.transport is None:
            self._connections.drop(connection)
            connection.accepted.close()

    def _forget_closed(self) -> None:
        """Stop counting connections that have ended."""
        server = self._runner.server
        assert server is not None, "the runner is set up"
        alive = set(server.connections)
        for protocol in [each for each in self._established if each not in alive]:
            self._connections.drop(self._established.pop(protocol))

    @property
    def _counted(self) -> Middleware:
        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = self._established.get(request.protocol)
            if connection is None:
                return await handler(request)
            self._connections.begin(connection)
            try:
                return await handler(request)
            finally:
                self._connections.end(connection, asyncio.get_running_loop().time())

        return count


async def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, without waiting for reads. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setblocking(False)
        listening.bind(address)
        listening.listen(BACKLOG)
        stack.pop_all()
    return listening


class _ToStructlog(logging.Filter):
    """Write what aiohttp logs of a connection as lines of ours: malformed requests without a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        because = shown(str(error) or type(error).__name__) if error is not None else shown(record.getMessage())
        log.warning("request not served", request=new_request_id(), because=because)
        return False


def one_line_logger() -> logging.Logger:
    """Return what aiohttp's servers log to: a line each, without tracebacks."""
    logger = logging.Logger("leeward.http")
    logger.addFilter(_ToStructlog())
    return logger
