"""The other regions' agents, over mTLS."""

import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp

from leeward.core.codec import DecodeError, decode, encode
from leeward.core.settings import RegionSettings
from leeward.core.values import Promise, Region, Vantage

# Long enough that a connection survives between probes, whatever the heartbeat is.
KEEPALIVE_S = 60.0


class HttpPeers:
    """Speaks to each agent at its URL and checks that it is who the URL is for."""

    def __init__(self, regions: tuple[RegionSettings, ...], tls: ssl.SSLContext) -> None:
        self._regions = {region.name: region for region in regions}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, keepalive_timeout=KEEPALIVE_S, limit_per_host=8)
        )

    async def __aenter__(self) -> Self:
        """Return itself; connections are made when needed."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        await self._session.close()

    async def vantage(self, region: Region, *, timeout_s: float) -> Vantage:
        """Return whether the region serves; an unreachable one does not. Never raises."""
        try:
            return decode(Vantage, await self._call("GET", region, "/v1/vantage", None, timeout_s))
        except (aiohttp.ClientError, TimeoutError, OSError, DecodeError) as error:
            return Vantage(False, f"{region} does not answer: {type(error).__name__}")

    async def tell(self, region: Region, promise: Promise, *, timeout_s: float) -> None:
        """Tell a promise, if the region can be reached. The store will have it in any case."""
        try:
            await self._call("PUT", region, "/v1/promises", encode(promise), timeout_s)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return

    async def forward(
        self, region: Region, path: str, body: str, headers: Mapping[str, str], *, timeout_s: float
    ) -> tuple[int, str]:
        """Pass an operator's request on. Raises aiohttp.ClientError, TimeoutError."""
        async with self._session.post(
            self._regions[region].agent_url + path,
            data=body,
            headers=headers,
            server_hostname=region,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        ) as response:
            return response.status, await response.text()

    async def _call(self, method: str, region: Region, path: str, body: str | None, timeout_s: float) -> str:
        async with self._session.request(
            method,
            self._regions[region].agent_url + path,
            data=body,
            server_hostname=region,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        ) as response:
            response.raise_for_status()
            return await response.text()
