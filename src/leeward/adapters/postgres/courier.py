"""The WAL receiver's way to its upstream: a socket of our own for each region, which asks ahead (``anticipation``).

PostgreSQL connects here and never learns the difference. Nothing is acknowledged that PostgreSQL did not
acknowledge; when this process ends, so does PostgreSQL. A question that is not answered in time ends the connection.
"""

import asyncio
from collections.abc import Callable
from contextlib import closing
from functools import partial

import structlog

from leeward.adapters.postgres.anticipation import SEGMENT_BYTES, Anticipation, Passing, UnforeseenError
from leeward.adapters.postgres.settings import Endpoint, ManagerSettings

_CONNECT_TIMEOUT_S = 5.0
# PostgreSQL waits without end for the answer to a question, even if the line has long been dead. In a live stream the
# upstream is never silent for so long: wal_receiver_timeout asks for a word before.
_ANSWER_TIMEOUT_S = 10.0
_CHUNK_BYTES = 128 * 1024
# What may wait here for the WAL receiver to ask for it: the rest stays with the upstream.
_HELD_MAX_BYTES = 4 * 1024 * 1024

_Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]

log = structlog.get_logger("leeward.postgres")


class Courier:
    """Carries between WAL receivers and their upstreams. Its owner awaits ``start`` and ``close``."""

    def __init__(self, settings: ManagerSettings, *, answer_timeout_s: float = _ANSWER_TIMEOUT_S) -> None:
        self._settings = settings
        self._answer_timeout_s = answer_timeout_s
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
        with closing(writer):
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    from_server, to_server = await asyncio.open_connection(upstream.host, upstream.port)
            except OSError:
                return
            with closing(to_server):
                await self._between(upstream, (reader, writer), (from_server, to_server))

    async def _between(self, upstream: Endpoint, client: _Line, server: _Line) -> None:
        (from_client, to_client), (from_server, to_server) = client, server
        anticipation = Anticipation(self._held)
        moved = asyncio.Event()
        now_s = asyncio.get_running_loop().time
        unanswered_since_s: float | None = None

        async def pump(source: asyncio.StreamReader, take: Callable[[bytes], Passing]) -> None:
            nonlocal unanswered_since_s
            while data := await source.read(_CHUNK_BYTES):
                if source is from_server:
                    unanswered_since_s = None
                elif unanswered_since_s is None:
                    unanswered_since_s = now_s()
                passing = take(data)
                to_client.write(passing.to_client)
                to_server.write(passing.to_server)
                await to_client.drain()
                await to_server.drain()
                moved.set()
                while source is from_server and anticipation.held_bytes > _HELD_MAX_BYTES:
                    moved.clear()
                    await moved.wait()

        async def be_patient() -> None:
            while True:
                await asyncio.sleep(self._answer_timeout_s / 4)
                if unanswered_since_s is not None and now_s() - unanswered_since_s >= self._answer_timeout_s:
                    because = f"no answer from {upstream.host}:{upstream.port} for {self._answer_timeout_s:g} s"
                    log.warning("starting over", because=because)
                    return

        tasks = (
            asyncio.create_task(pump(from_client, anticipation.from_client), name="from the WAL receiver"),
            asyncio.create_task(pump(from_server, anticipation.from_server), name="from the upstream"),
            asyncio.create_task(be_patient(), name="an answer in time"),
        )
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, UnforeseenError):
                    log.warning("starting over", because=str(outcome))

    def _held(self, timeline: int, from_lsn: int, to_lsn: int) -> bytes:
        high, low = from_lsn >> 32, from_lsn & 0xFFFFFFFF
        name = f"{timeline:08X}{high:08X}{low // SEGMENT_BYTES:08X}"
        try:
            with (self._settings.layout.data / "pg_wal" / name).open("rb") as segment:
                segment.seek(from_lsn % SEGMENT_BYTES)
                return segment.read(to_lsn - from_lsn)
        except OSError:
            return b""
