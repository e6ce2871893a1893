"""The other regions' agents, over mTLS."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp

from leeward.core.certificates import Certificate, RegionCertificates
from leeward.core.codec import DecodeError, decode, encode
from leeward.core.settings import RegionSettings
from leeward.core.store_members import StoreMember
from leeward.core.values import Promise, Region, Vantage
from leeward.kit.http.tls_files import TlsFiles
from leeward.kit.loops import repeat

# Long enough that a connection survives between two uses.
KEEPALIVE_S = 60.0
# A promise must not wait for a handshake: its connection is used now and then, and for nothing else.
WARM_EVERY_S = 5.0
WARM_TIMEOUT_S = 2.0


class HttpPeers:
    """Speaks to each agent at its URL and checks that it is who the URL is for."""

    def __init__(self, me: Region, regions: tuple[RegionSettings, ...], tls: TlsFiles) -> None:
        self._tls = tls
        self._regions = {region.name: region for region in regions}
        self._me = me
        self._session = _session()
        self._express = _session()
        # Once a minute: a connection that stayed open for it would add one for each peer.
        self._rare = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        # Operators' requests may take long; probes must not wait behind them.
        self._forwarding = _session()
        self._warming: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Return itself, and begin to keep a connection to each agent warm."""
        self._warming = asyncio.create_task(self._keep_warm(), name="keep connections to agents warm")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        await self._express.close()
        await self._rare.close()
        await self._forwarding.close()
        await self._session.close()

    async def vantage(self, region: Region, *, timeout_s: float) -> Vantage:
        """Return whether the region serves; an unreachable one does not. Never raises."""
        try:
            return decode(Vantage, await self._call(self._session, "GET", region, "/v1/vantage", None, timeout_s))
        except (aiohttp.ClientError, TimeoutError, OSError, DecodeError) as error:
            return Vantage(False, f"{region} does not answer: {type(error).__name__}")

    async def store_member(self, region: Region, *, timeout_s: float) -> StoreMember | None:
        """Return the region's member of the quorum store, as its agent reports it; None without an answer."""
        try:
            return decode(StoreMember, await self._call(self._session, "GET", region, "/v1/store", None, timeout_s))
        except (aiohttp.ClientError, TimeoutError, OSError, DecodeError):
            return None

    async def certificates(self, region: Region, *, timeout_s: float) -> tuple[Certificate, ...] | None:
        """Return the region's certificates, as its agent reports them; None without an answer."""
        try:
            text = await self._call(self._rare, "GET", region, "/v1/certificates", None, timeout_s)
            return decode(RegionCertificates, text).certificates
        except (aiohttp.ClientError, TimeoutError, OSError, DecodeError):
            return None

    async def send_promise(self, region: Region, promise: Promise, *, timeout_s: float) -> None:
        """Send a promise, if the region can be reached. The store will have it in any case."""
        try:
            await self._call(self._express, "PUT", region, "/v1/promises", encode(promise), timeout_s)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return

    async def forward(
        self, region: Region, path: str, body: str, headers: Mapping[str, str], *, timeout_s: float
    ) -> tuple[int, str]:
        """Pass an operator's request on. Raises aiohttp.ClientError, TimeoutError."""
        async with self._forwarding.post(
            self._regions[region].agent_url + path,
            data=body,
            headers=headers,
            ssl=self._tls(),
            server_hostname=region,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        ) as response:
            return response.status, await response.text()

    async def _keep_warm(self) -> None:
        others = [region for region in self._regions if region != self._me]

        async def warm() -> None:
            await asyncio.gather(
                *(self._call(self._express, "GET", region, "/healthz", None, WARM_TIMEOUT_S) for region in others),
                return_exceptions=True,
            )

        await repeat("keep connections warm", warm, every_s=WARM_EVERY_S)

    async def _call(
        self,
        session: aiohttp.ClientSession,
        method: str,
        region: Region,
        path: str,
        body: str | None,
        timeout_s: float,
    ) -> str:
        async with session.request(
            method,
            self._regions[region].agent_url + path,
            data=body,
            ssl=self._tls(),
            server_hostname=region,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        ) as response:
            response.raise_for_status()
            return await response.text()


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(keepalive_timeout=KEEPALIVE_S, limit_per_host=8))
