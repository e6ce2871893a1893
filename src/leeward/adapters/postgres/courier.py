"""The WAL receiver's way to its upstream: a socket of our own for each region, which asks ahead (``anticipation``).

PostgreSQL connects here and never learns the difference. Nothing is acknowledged that PostgreSQL did not
acknowledge; when this process ends, so does PostgreSQL.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from leeward.adapters.postgres.anticipation import Anticipation, Passing, UnforeseenError
from leeward.adapters.postgres.settings import Endpoint, ManagerSettings

_CONNECT_TIMEOUT_S = 5.0
_CHUNK_BYTES = 128 * 1024
# What may wait here for the WAL receiver to ask for it: the rest stays with the upstream.
_HELD_MAX_BYTES = 4 * 1024 * 1024

log = structlog.get_logger("leeward.postgres")


class Courier:
    """Carries between WAL receivers and their upstreams. Its owner awaits ``start`` and ``close``."""

    def __init__(self, settings: ManagerSettings) -> None:
        self._settings = settings
        self._servers: list[asyncio.Server] = []
        self._journeys: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises OSError."""
        self._settings.layout.socket.mkdir(mode=0o700, parents=True, exist_ok=True)
        for region, socket in self._settings.wal_sources.items():
            accepted = partial(self._accepted, self._settings.upstreams[region])
            path = f"{socket.host}/.s.PGSQL.{socket.port}"
            self._servers.append(await asyncio.start_unix_server(accepted, path))

    async def close(self) -> None:
        """Stop listening and end every connection."""
        for server in self._servers:
            server.close()
        for journey in self._journeys:
            journey.cancel()
        await asyncio.gather(*self._journeys, return_exceptions=True)

    def _accepted(self, upstream: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        journey = asyncio.create_task(self._carry(upstream, reader, writer), name=f"carry WAL from {upstream}")
        self._journeys.add(journey)
        journey.add_done_callback(self._journeys.discard)

    async def _carry(self, upstream: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                from_server, to_server = await asyncio.open_connection(upstream.host, upstream.port)
        except OSError:
            writer.close()
            return
        anticipation = Anticipation()
        moved = asyncio.Event()

        async def pump(source: asyncio.StreamReader, take: Callable[[bytes], Passing]) -> None:
            while data := await source.read(_CHUNK_BYTES):
                passing = take(data)
                writer.write(passing.to_client)
                to_server.write(passing.to_server)
                await asyncio.gather(writer.drain(), to_server.drain())
                moved.set()
                while source is from_server and anticipation.held_bytes > _HELD_MAX_BYTES:
                    moved.clear()
                    await moved.wait()

        pumps = (
            asyncio.create_task(pump(reader, anticipation.from_client), name="from the WAL receiver"),
            asyncio.create_task(pump(from_server, anticipation.from_server), name="from the upstream"),
        )
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in pumps:
                task.cancel()
            for outcome in await asyncio.gather(*pumps, return_exceptions=True):
                if isinstance(outcome, UnforeseenError):
                    log.warning("starting over", because=str(outcome))
            writer.close()
            to_server.close()
