"""Requests to etcd members over mutual TLS: deadlines, and a fallback when the local member is gone.

Always true: a request that may have reached a member is never sent again; the caller decides.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from leeward.adapters.etcd.wire import INVALID_ARGUMENT
from leeward.kit.http.tls import client
from leeward.kit.http.tls_files import TlsFiles
from leeward.ports.quorum import QuorumUnavailableError

CONNECT_S = 1.0
"""A member that does not complete a TLS handshake in this time counts as gone."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One member's client URL, and the name its certificate must carry (None: the URL's host)."""

    url: str
    server_name: str | None = None


class RequestRefusedError(QuorumUnavailableError):
    """A member answered with an error."""


class Gateway:
    """The members one process talks to; the first is the local one."""

    def __init__(
        self, session: aiohttp.ClientSession, endpoints: Sequence[Endpoint], tls: TlsFiles | None = None
    ) -> None:
        """``tls``: for https; the session connects with it."""
        if not endpoints:
            raise ValueError("an etcd client needs at least one endpoint")
        self._session = session
        self._tls = tls
        self.endpoints = tuple(endpoints)

    def _context(self) -> ssl.SSLContext | bool:
        return True if self._tls is None else self._tls()

    async def post(self, path: str, body: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Send to the first member that takes a connection; return its answer.

        Raises QuorumUnavailableError (the effect is unknown), ValueError when the request itself is wrong.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._post_somewhere(path, body, timeout_s)
        except TimeoutError as error:
            raise QuorumUnavailableError(f"{path}: no answer within {timeout_s:g} s") from error

    async def _post_somewhere(self, path: str, body: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        connect_s = min(CONNECT_S, timeout_s / len(self.endpoints))
        for endpoint in self.endpoints[:-1]:
            try:
                return await self._post(endpoint, path, body, connect_s)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
                continue  # nothing was sent
        return await self.post_to(self.endpoints[-1], path, body, timeout_s=timeout_s)

    async def post_to(
        self, endpoint: Endpoint, path: str, body: Mapping[str, Any], *, timeout_s: float
    ) -> dict[str, Any]:
        """Send to one member. Raises as ``post`` does."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._post(endpoint, path, body, timeout_s)
        except TimeoutError as error:
            raise QuorumUnavailableError(f"{endpoint.url}: no answer within {timeout_s:g} s") from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise QuorumUnavailableError(f"{endpoint.url}: no connection: {error}") from error

    async def _post(self, endpoint: Endpoint, path: str, body: Mapping[str, Any], connect_s: float) -> dict[str, Any]:
        try:
            async with self._session.post(
                endpoint.url + path,
                json=body,
                ssl=self._context(),
                server_hostname=endpoint.server_name,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_s),
            ) as response:
                reply = await response.json(content_type=None)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise QuorumUnavailableError(f"{endpoint.url}{path}: {error!r}") from error
        if not isinstance(reply, dict):
            raise QuorumUnavailableError(f"{endpoint.url}{path}: the answer is not an object")
        if "error" in reply:
            message = f"{endpoint.url}{path}: {reply.get('message', reply['error'])}"
            if reply.get("code") == INVALID_ARGUMENT:
                raise ValueError(message)
            raise RequestRefusedError(message)
        return reply

    @asynccontextmanager
    async def stream(
        self, endpoint: Endpoint, path: str, body: Mapping[str, Any], *, silence_s: float
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """Open a streaming answer; reading it fails when nothing comes for ``silence_s``.

        Failures are aiohttp's: ClientError, TimeoutError, OSError.
        """
        async with self._session.post(
            endpoint.url + path,
            json=body,
            # Without it a member that lost the majority keeps a watch open and stays silent.
            headers={"Grpc-Metadata-hasleader": "true"},
            ssl=self._context(),
            server_hostname=endpoint.server_name,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=silence_s),
        ) as response:
            yield response.content


@asynccontextmanager
async def open_gateway(endpoints: Sequence[Endpoint], identity_dir: Path) -> AsyncIterator[Gateway]:
    """Open keep-alive connections as a client of the store: ca.crt, tls.crt and tls.key in ``identity_dir``."""
    # Watches hold their connections for good: without a limit they never make a transaction wait.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        # The oldest: what etcd 3.5.1 speaks.
        yield Gateway(session, endpoints, client(identity_dir, oldest=ssl.TLSVersion.TLSv1_2))
