"""Which timeline a standby is on: that of the last record it replayed.

No function returns it. What the catalogues, the control file and the names in ``pg_wal`` have is older, or newer: a WAL
receiver begins a later timeline's segment with what precedes the fork, and a position there is still on the timeline
before. ``IDENTIFY_SYSTEM`` returns it, over the replication protocol.
"""

import asyncio

import psycopg
from psycopg.rows import TupleRow

from leeward.instance.postgres.connection import for_replication
from leeward.instance.settings import ManagerSettings

UNKNOWN = 0
_TIMEOUT_S = 1.0


class ReplayedTimeline:
    """Keeps a connection; any failure closes it, and the next question connects again."""

    def __init__(self, settings: ManagerSettings) -> None:
        self._settings = settings
        self._connection: psycopg.AsyncConnection[TupleRow] | None = None
        self._busy = asyncio.Lock()

    async def ask(self) -> int:
        """Return the timeline, or ``UNKNOWN``: what else is observed counts without it."""
        async with self._busy:
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    if self._connection is None:
                        self._connection = await for_replication(self._settings, None, "")
                    row = await (await self._connection.execute(b"IDENTIFY_SYSTEM")).fetchone()
                return UNKNOWN if row is None else int(row[1])
            except (psycopg.Error, OSError):
                await self._drop()
                return UNKNOWN
            except BaseException:
                await self._drop()
                raise

    async def close(self) -> None:
        """Disconnect."""
        async with self._busy:
            await self._drop()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
