"""The agent's end of an instance manager: ``leeward.ports.database.Database`` over HTTP and mTLS."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from leeward.core.codec import DecodeError, decode, encode
from leeward.core.identities import INSTANCE_CA, instance_host
from leeward.core.values import App, Basis, InstanceStatus, Order, Region
from leeward.instance.requests import REFUSED, VERSION, LeaseRequest, OrderRequest, Refused
from leeward.kit.http.tls import client
from leeward.ports.database import InstanceUnavailableError, StaleError

_POLL_S = 1.0
_POLL_GRACE_S = 2.0


class InstanceManager:
    """A Database. Use it as an async context manager, or call ``close``; connections are kept alive."""

    def __init__(self, url: str, identity_dir: Path, app: App, region: Region) -> None:
        """``app`` and ``region`` are named in the manager's certificate. Call inside a running event loop."""
        self._url = url.rstrip("/")
        self._host = instance_host(app, region)
        self._tls = client(identity_dir, INSTANCE_CA)
        self.refused: Mapping[str, int] = {}
        """How many clients the manager has refused since its start, by reason, as it reported last."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=8),
            headers={"Content-Type": "application/json"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Drop the connections."""
        await self._session.close()

    async def status(self, *, timeout_s: float) -> InstanceStatus:
        """Return the status now. Raises InstanceUnavailableError."""
        return (await self._call("GET", "/v1/status", timeout_s=timeout_s))[0]

    async def changes(self) -> AsyncIterator[InstanceStatus]:
        """Yield a status at once, whenever it changes and at least every second. See the port."""
        path = "/v1/status"
        while True:
            status, version = await self._call("GET", path, timeout_s=_POLL_S + _POLL_GRACE_S)
            yield status
            path = f"/v1/status?after={version}&wait_s={_POLL_S}"

    async def order(self, order: Order, *, basis: Basis, timeout_s: float) -> InstanceStatus:
        """Accept an order; it settles later. Raises StaleError, InstanceUnavailableError."""
        body = encode(OrderRequest(order, basis))
        return (await self._call("PUT", "/v1/order", body, timeout_s=timeout_s))[0]

    async def lease(self, epoch: int, until_s: float, *, basis: Basis, timeout_s: float) -> InstanceStatus:
        """Let a primary of ``epoch`` accept writes until ``until_s`` of its boot clock. See the port."""
        body = encode(LeaseRequest(epoch, until_s, basis))
        return (await self._call("PUT", "/v1/lease", body, timeout_s=timeout_s))[0]

    async def _call(
        self, method: str, path: str, body: str | None = None, *, timeout_s: float
    ) -> tuple[InstanceStatus, int]:
        try:
            async with asyncio.timeout(timeout_s):
                async with self._session.request(
                    method, self._url + path, data=body, ssl=self._tls(), server_hostname=self._host
                ) as response:
                    text = await response.text()
                    if response.status == 409:
                        raise StaleError(text)
                    if response.status != 200:
                        raise InstanceUnavailableError(f"{self._url} answered {response.status}: {text}")
                    self.refused = decode(Refused, response.headers.get(REFUSED, "{}")).counts
                    return decode(InstanceStatus, text), int(response.headers[VERSION])
        except (aiohttp.ClientError, OSError, TimeoutError, DecodeError) as error:
            reason = str(error) or type(error).__name__
            raise InstanceUnavailableError(f"{self._url} did not answer: {reason}") from error
