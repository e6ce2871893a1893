"""The WAL receiver's connection to its upstream: a local socket for each region, with prefetching (``prefetch``).

PostgreSQL connects here as if to the upstream, also where nothing is asked ahead (docs/decisions/0031). Nothing is
acknowledged that PostgreSQL did not acknowledge; when this process ends, so does PostgreSQL. A request that is not
answered in time ends the connection.
"""

import asyncio
from contextlib import closing, suppress
from functools import partial

import structlog

from leeward.core.values import Region
from leeward.instance.postgres.private import make_private
from leeward.instance.settings import Endpoint, ManagerSettings
from leeward.instance.walrelay.messages import GOODBYE, UnforeseenError
from leeward.instance.walrelay.prefetch import SEGMENT_BYTES, Passing, Prefetch
from leeward.instance.walrelay.standby_session import StandbySession

_CONNECT_TIMEOUT_S = 5.0
# PostgreSQL waits without a timeout for an answer, even on a dead connection. In a live stream the upstream is never
# silent for so long: wal_receiver_timeout requests a reply earlier.
_ANSWER_TIMEOUT_S = 10.0
# Until a standby session is connected and has its first answer: a request to stream waits for that.
_FIRST_ANSWER_TIMEOUT_S = 1.0
# A promoted upstream ends the old timeline and a standby session's wait in the same moment.
_PROMOTED_TIMEOUT_S = 1.0
_CHUNK_BYTES = 128 * 1024
# Buffered here until the WAL receiver asks for it; the rest stays with the upstream.
_HELD_MAX_BYTES = 4 * 1024 * 1024

# An upstream that grants a request to stream but lacks the WAL reports that in the same packet.
_GRANTED_FOR_S = 0.1
# "requested WAL segment has already been removed" (undefined_file), and a slot invalidated for the same reason.
_WAL_REMOVED = ("58P01", "55000")

_Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]

log = structlog.get_logger("leeward.postgres")


class WalProxy:
    """Relays between WAL receivers and their upstreams. Its owner awaits ``start`` and ``close``."""

    def __init__(
        self, settings: ManagerSettings, replication_password: str, *, answer_timeout_s: float = _ANSWER_TIMEOUT_S
    ) -> None:
        self._settings = settings
        self._replication_password = replication_password
        self._answer_timeout_s = answer_timeout_s
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._streams: dict[Region, _Connection] = {}
        self._wal_removed: set[Region] = set()
        self._without_standby_session: set[Region] = set()
        """Upstreams that were not promoted as expected: the next connection to one uses no standby session."""

    async def start(self) -> None:
        """Listen. Raises OSError."""
        make_private(self._settings.layout.socket)
        for region, socket in self._settings.wal_sources.items():
            accepted = partial(self._accepted, region)
            path = f"{socket.host}/.s.PGSQL.{socket.port}"
            self._servers.append(await asyncio.start_unix_server(accepted, path))

    async def close(self) -> None:
        """Stop listening and end every connection."""
        for server in self._servers:
            server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accepted(self, source: Region, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._carry(source, reader, writer), name=f"carry WAL from {source}")
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _carry(self, source: Region, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            try:
                server = await _connect(self._settings.upstreams[source])
            except OSError:
                return
            with closing(server[1]):
                await self._between(source, (reader, writer), server)

    async def _between(self, source: Region, client: _Line, server: _Line) -> None:
        standby_session, asks_ahead = None, self._settings.wal_prefetch
        if asks_ahead and source not in self._without_standby_session:
            standby_session = StandbySession(self._settings.region, self._replication_password)
        self._without_standby_session.discard(source)
        connection = _Connection(
            self._settings.upstreams[source],
            client,
            server,
            Prefetch(self._held, standby_session, asks_ahead=asks_ahead),
            self._answer_timeout_s,
        )
        self._streams[source] = connection
        try:
            await connection.run(standby_session)
        finally:
            if self._streams.get(source) is connection:
                del self._streams[source]
        if connection.arrived:
            self._wal_removed.discard(source)
        if connection.refusal in _WAL_REMOVED:
            self._wal_removed.add(source)
        if connection.promotion_missed:
            self._without_standby_session.add(source)

    def streams_from(self, source: Region) -> bool:
        """Return whether this upstream is streaming WAL, even if there is none to send at the moment."""
        connection = self._streams.get(source)
        return connection is not None and connection.streams

    def wal_removed(self, source: Region) -> bool:
        """Whether the upstream refused to stream because it no longer has the WAL that was asked for."""
        return source in self._wal_removed

    def clear_wal_removed(self, source: Region) -> None:
        """Clear that: the next request to this upstream asks for other WAL."""
        self._wal_removed.discard(source)

    def _held(self, timeline: int, from_lsn: int, to_lsn: int) -> bytes:
        high, low = from_lsn >> 32, from_lsn & 0xFFFFFFFF
        name = f"{timeline:08X}{high:08X}{low // SEGMENT_BYTES:08X}"
        try:
            with (self._settings.layout.data / "pg_wal" / name).open("rb") as segment:
                segment.seek(from_lsn % SEGMENT_BYTES)
                return segment.read(to_lsn - from_lsn)
        except OSError:
            return b""


class _Connection:
    """One connection of a WAL receiver, with its upstream, and for a while with a standby session beside it."""

    def __init__(
        self, upstream: Endpoint, client: _Line, server: _Line, prefetch: Prefetch, answer_timeout_s: float
    ) -> None:
        self.promotion_missed = False
        """The upstream ended the standby session before its promotion, or ended the timeline without one."""
        self._upstream = upstream
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self._to_standby_session: asyncio.StreamWriter | None = None
        self._prefetch = prefetch
        self._answer_timeout_s = answer_timeout_s
        self._unanswered_since_s: float | None = None
        self._granted_at_s: float | None = None
        self._moved = asyncio.Event()
        self._taken_over = asyncio.Event()
        self._over = asyncio.Event()

    async def run(self, standby_session: StandbySession | None) -> None:
        """Relay until one side ends, times out, or sends an unexpected message."""
        tasks = [
            asyncio.create_task(self._carry_there(), name="from the WAL receiver"),
            asyncio.create_task(self._carry_back(), name="from the upstream"),
            asyncio.create_task(self._watch_answer_timeout(), name="an answer in time"),
            asyncio.create_task(self._over.wait(), name="the standby session's end"),
        ]
        beside = []
        if standby_session is not None:
            beside.append(asyncio.create_task(self._accompany(standby_session), name="standby session"))
            tasks.append(asyncio.create_task(self._expect_promotion(standby_session), name="a promotion"))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks += beside
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, UnforeseenError):
                    log.warning("reconnecting to the upstream", because=str(outcome))

    @property
    def refusal(self) -> str | None:
        """The SQLSTATE of the last error the upstream answered with."""
        return self._prefetch.refusal

    @property
    def arrived(self) -> bool:
        """Whether the upstream has sent anything in the stream."""
        return self._prefetch.arrived

    @property
    def streams(self) -> bool:
        """Whether WAL arrives, or would: an upstream without the WAL grants the request, and ends it at once."""
        granted_at_s = self._granted_at_s
        if granted_at_s is None or self.refusal is not None:
            return False
        return self.arrived or self._now_s() - granted_at_s >= _GRANTED_FOR_S

    async def _carry_there(self) -> None:
        while data := await self._from_client.read(_CHUNK_BYTES):
            if self._unanswered_since_s is None:
                self._unanswered_since_s = self._now_s()
            await self._pass(self._prefetch.from_client(data))

    async def _carry_back(self) -> None:
        while data := await self._from_server.read(_CHUNK_BYTES):
            self._unanswered_since_s = None
            await self._pass(self._prefetch.from_server(data))
            if self._taken_over.is_set():
                await self._over.wait()
            if not self._prefetch.relies_on_standby_session:
                await self._room()

    async def _accompany(self, standby_session: StandbySession) -> None:
        goes_on = False
        try:
            with suppress(OSError):
                await self._listen_to(standby_session)
            self._to_standby_session = None
            await self._pass(self._prefetch.without_standby_session())
            goes_on = not self._prefetch.relies_on_standby_session
        except UnforeseenError:
            self.promotion_missed = not self._taken_over.is_set()
            raise
        finally:
            if not goes_on:
                self._over.set()

    async def _listen_to(self, standby_session: StandbySession) -> None:
        async with asyncio.timeout(_FIRST_ANSWER_TIMEOUT_S) as patience:
            reader, writer = await _connect(self._upstream)
            with closing(writer):
                self._to_standby_session = writer
                writer.write(standby_session.opening())
                while standby_session.recovering is None and (data := await reader.read(_CHUNK_BYTES)):
                    await self._pass(self._prefetch.from_standby_session(data))
                patience.reschedule(None)
                while self._prefetch.accompanied and (data := await reader.read(_CHUNK_BYTES)):
                    if self._taken_over.is_set():
                        self._unanswered_since_s = None
                    await self._pass(self._prefetch.from_standby_session(data))
                    await self._room()

    async def _expect_promotion(self, standby_session: StandbySession) -> None:
        """Start over when the standby session has taken over, and it turns out that its upstream was not promoted.

        An upstream that itself follows a new timeline ends the old one too. It streams on, and it waits.
        So would the next one: the WAL receiver begins with the old timeline again.
        """
        await self._taken_over.wait()
        await asyncio.sleep(_PROMOTED_TIMEOUT_S)
        if standby_session.waits:
            self.promotion_missed = True
            raise UnforeseenError("the timeline ended, but the upstream was not promoted")
        await self._over.wait()

    async def _pass(self, passing: Passing) -> None:
        self._to_client.write(passing.to_client)
        self._to_server.write(passing.to_server)
        standby_session = self._to_standby_session
        if standby_session is not None:
            standby_session.write(passing.to_standby_session)
            if passing.taken_over:
                self._to_server.close()
                self._to_server = standby_session
                self._taken_over.set()
                log.info("standby session took over", upstream=f"{self._upstream.host}:{self._upstream.port}")
            elif not self._prefetch.accompanied:
                standby_session.write(GOODBYE)
                standby_session.close()
        await self._to_client.drain()
        await self._to_server.drain()
        # By either session: the first one may be granted the old timeline together with its end.
        if self._granted_at_s is None and self._prefetch.streaming:
            self._granted_at_s = self._now_s()
            if (major := self._prefetch.untested) is not None:
                because = f"PostgreSQL {major} is not a tested version"
                log.warning("WAL relay does not ask ahead; failovers take longer", because=because)
        self._moved.set()

    async def _room(self) -> None:
        while self._prefetch.held_bytes > _HELD_MAX_BYTES:
            self._moved.clear()
            await self._moved.wait()

    async def _watch_answer_timeout(self) -> None:
        while True:
            await asyncio.sleep(self._answer_timeout_s / 4)
            since_s = self._unanswered_since_s
            if since_s is not None and self._now_s() - since_s >= self._answer_timeout_s:
                because = f"no answer from {self._upstream.host}:{self._upstream.port} for {self._answer_timeout_s:g} s"
                log.warning("reconnecting to the upstream", because=because)
                return

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()


async def _connect(upstream: Endpoint) -> _Line:
    async with asyncio.timeout(_CONNECT_TIMEOUT_S):
        return await asyncio.open_connection(upstream.host, upstream.port)
