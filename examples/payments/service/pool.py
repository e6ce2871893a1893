"""A few connections to one PostgreSQL whose other end may change or vanish at any moment.

Always true: a connection is lent to one user at a time; nobody gets one that was seen closed or with a
transaction open; no wait is longer than the timeouts here.
Not here: retries. Whether a request may be repeated is for its owner to say.
"""

import asyncio
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus
from settings import Endpoint, Settings

CONNECT_TIMEOUT_S = 1.0
STATEMENT_TIMEOUT_MS = 1000
CANCEL_TIMEOUT_S = 0.3
WAIT_TIMEOUT_S = 0.5
# A new primary refuses clients for the moment until its promotion is proved: asking again is faster than failing.
REFUSED_FOR_S = 0.3
ASK_AGAIN_S = 0.02

Row = tuple[Any, ...]
Connection = psycopg.AsyncConnection[Row]
Cursor = psycopg.AsyncCursor[Row]
Query = LiteralString | sql.SQL | sql.Composed


class UnavailableError(Exception):
    """No connection could be had in time; nothing was sent to a database."""


class Pool:
    """Up to ``size`` connections to one endpoint, opened when needed, kept while they are sound."""

    def __init__(self, settings: Settings, endpoint: Endpoint, size: int) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._size = size
        self._free = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._generation = 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection (autocommit: transactions are explicit). Raises UnavailableError."""
        try:
            await asyncio.wait_for(self._free.acquire(), WAIT_TIMEOUT_S)
        except TimeoutError:
            raise UnavailableError(f"all {self._size} connections are busy") from None
        try:
            connection = await self._sound_idle() or await self._connect()
            generation = self._generation
            try:
                yield connection
            finally:
                idle = not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE
                if idle and generation == self._generation:
                    self._idle.append(connection)
                else:
                    await connection.close()
        finally:
            self._free.release()

    async def drop(self) -> None:
        """Trust no connection opened so far: the route has led to the wrong place."""
        self._generation += 1
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()

    async def _sound_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            # An idle server has nothing to say: readable means that it ended, or is ending.
            if not connection.closed and not _readable(connection.fileno()):
                return connection
            await connection.close()
        return None

    async def _connect(self) -> Connection:
        give_up_s = asyncio.get_running_loop().time() + REFUSED_FOR_S
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                while True:
                    try:
                        return await self._open()
                    except psycopg.OperationalError:
                        if asyncio.get_running_loop().time() >= give_up_s:
                            raise
                        await asyncio.sleep(ASK_AGAIN_S)
        except TimeoutError:
            raise UnavailableError(f"no connection within {CONNECT_TIMEOUT_S:g} s") from None
        except (psycopg.Error, OSError) as error:
            raise UnavailableError(first_line(error)) from error

    async def _open(self) -> Connection:
        return await psycopg.AsyncConnection.connect(
            host=self._endpoint.host,
            port=self._endpoint.port,
            dbname=self._settings.database,
            user=self._settings.user,
            password=self._settings.password(),
            application_name=f"payments {self._settings.region}",
            options=f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
            autocommit=True,
        )


async def execute(connection: Connection, query: Query, values: tuple[object, ...] = (), *, timeout_s: float) -> Cursor:
    """Run one statement; a timeout also asks the server to stop. Raises TimeoutError, psycopg.Error.

    After a TimeoutError or a cancellation the connection is closed.
    """
    task = asyncio.ensure_future(connection.execute(query, values))
    try:
        await asyncio.wait({task}, timeout=timeout_s)
        if not task.done():
            raise TimeoutError(f"no answer from the database within {timeout_s:g} s")
        return task.result()
    finally:
        if not task.done():
            # The first cancellation makes psycopg ask the server to stop, and wait for that for long
            # if the line is dead; a second one ends the waiting.
            while not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=CANCEL_TIMEOUT_S)
            if not task.cancelled():
                task.exception()
            await connection.close()


def first_line(error: BaseException) -> str:
    """Return what went wrong in one line."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))
