"""Requests to one API server: connection, identity, deadlines, and our errors for its refusals. HTTP only."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp

from leeward.kit.http.tls_files import TlsFiles
from leeward.ports.cluster import (
    BudgetError,
    ClusterUnavailableError,
    ConflictError,
    ExpiredError,
    KubeObject,
    NotFoundError,
    RejectedError,
)

JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where an API server is and how to prove who we are: a bearer token, or a client certificate."""

    url: str
    ca_file: Path | None = None
    """None: the system's authorities."""
    token_file: Path | None = None
    token: str | None = field(default=None, repr=False)
    """The token itself, instead of a file."""
    certificate_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None
    """The name to verify when it is not the host of the URL."""
    verified: bool = True
    """Whether the server's certificate is verified. False only when a kubeconfig asks for it."""


class Transport:
    """Requests to one API server. Close it."""

    def __init__(self, connection: Connection) -> None:
        self._base = connection.url.rstrip("/")
        self._server_name = connection.server_name
        self._token_file = connection.token_file
        self._token = connection.token
        self._tls: Callable[[], ssl.SSLContext | bool] = lambda: True
        if self._base.startswith("https:") and connection.ca_file is not None:
            # The cluster's authority may be exchanged while we run.
            authority = connection.ca_file
            self._tls = TlsFiles(partial(_context, connection), authority.parent, (authority.name,))
        elif self._base.startswith("https:"):
            context = _context(connection)
            self._tls = lambda: context
        self._session: aiohttp.ClientSession | None = None

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._session is not None and self._session.closed

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: KubeObject | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        timeout_s: float,
    ) -> KubeObject:
        """Return the answer to a request. Raises what the Cluster port does."""
        async with self.request(
            method,
            path,
            query=query or {},
            body=body,
            content_type=content_type,
            accept=accept,
            timeout_s=timeout_s,
            read_timeout_s=timeout_s,
            total_s=timeout_s,
        ) as response:
            answer: KubeObject = json.loads(await response.read())
            return answer

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        body: KubeObject | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        timeout_s: float,
        read_timeout_s: float | None,
        total_s: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and hand out a successful response; everything else becomes one of our errors."""
        if self._session is None:
            # Watches hold their connections for good: with a limit, those of some applications would block all others.
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        headers = {"Accept": accept}
        if self._token_file is not None:
            # Read every time: bound tokens of real clusters are replaced in place.
            headers["Authorization"] = f"Bearer {self._token_file.read_text().strip()}"
        elif self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = json.dumps(body, separators=(",", ":")).encode()
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._session.request(
                    method,
                    self._base + path,
                    params=query,
                    headers=headers,
                    data=data,
                    ssl=self._tls(),
                    server_hostname=self._server_name,
                    timeout=aiohttp.ClientTimeout(total=total_s, sock_read=read_timeout_s),
                )
            async with response:
                if response.status >= 400:
                    raise error_of(response.status, await _status_of(response))
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not self._session.closed:
                raise
            raise ClusterUnavailableError(f"{self._base}: {error or type(error).__name__}") from error


def _context(connection: Connection) -> ssl.SSLContext:
    authority = connection.ca_file
    context = ssl.create_default_context(cafile=None if authority is None else str(authority))
    if not connection.verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if connection.certificate_file is not None:
        context.load_cert_chain(connection.certificate_file, connection.key_file)
    return context


async def _status_of(response: aiohttp.ClientResponse) -> KubeObject:
    text = await response.text()
    try:
        status = json.loads(text)
    except ValueError:
        return {"message": text[:200]}
    return status if isinstance(status, dict) else {"message": text[:200]}


def error_of(code: int, status: KubeObject) -> Exception:
    """Return our error for a status of the API server."""
    message = f"{status.get('message') or 'no message'} ({status.get('reason') or code})"
    causes = (status.get("details") or {}).get("causes") or ()
    match code:
        case 429 if any(cause.get("reason") == "DisruptionBudget" for cause in causes):
            return BudgetError(message)
        case 404:
            return NotFoundError(message)
        case 409:
            return ConflictError(message)
        case 410:
            return ExpiredError(message)
        case 429 | 500 | 502 | 503 | 504:
            return ClusterUnavailableError(message)
        case _:
            return RejectedError(message)
