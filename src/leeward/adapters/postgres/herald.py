"""Hear of an upstream's promotion the moment it happens, and have its timeline history ready.

When a standby's upstream is promoted, its WAL receiver ends the old timeline, fetches the new one's history file, and
starts again: one round trip each. In the synchronous modes the first acknowledged write waits for all of it.
Asked beforehand, the upstream itself answers when it has a new timeline, so the file is there before
PostgreSQL looks for it. It is the very file that PostgreSQL would fetch, from the same server.

Best effort: without it PostgreSQL fetches the file itself.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import structlog

from leeward.adapters.postgres.configuration import REPLICATOR
from leeward.adapters.postgres.settings import Endpoint
from leeward.adapters.postgres.state import sync_directory
from leeward.core.values import Region

# Where the replicator may read files, as pg_rewind does.
MAINTENANCE_DATABASE = "postgres"
_RETRY_S = 0.2
_CONNECT_TIMEOUT_S = 5
_LISTEN_TIMEOUT_S = 90.0

# The recursion ends with the recovery of the server that runs it; CASE makes everything else come after.
_PROMOTED: LiteralString = """
WITH RECURSIVE waiting(n) AS (
    SELECT 0 UNION ALL
    SELECT n + 1 FROM waiting, LATERAL (SELECT pg_sleep(0.005)) AS nap WHERE pg_is_in_recovery() AND n < 12000
)
SELECT CASE WHEN (SELECT max(n) FROM waiting) >= 0
    THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
    CASE WHEN (SELECT max(n) FROM waiting) >= 0
    THEN pg_read_binary_file(
        'pg_wal/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '.history', 0, 1000000, true) END
"""

log = structlog.get_logger("leeward.postgres")


class Herald:
    """Listens to one upstream at a time. Its owner calls ``stop``."""

    def __init__(self, upstreams: Mapping[Region, Endpoint], wal_directory: Path, password: str) -> None:
        """``wal_directory`` is the follower's pg_wal; the password is the replicator's."""
        self._upstreams = upstreams
        self._directory = wal_directory
        self._password = password
        self._task: asyncio.Task[None] | None = None
        self._heard: tuple[int, Region] | None = None

    def listen(self, epoch: int, upstream: Region) -> None:
        """Listen to this upstream, unless that is being done or was done under this epoch."""
        if self._heard == (epoch, upstream):
            return
        busy = self._task is not None and not self._task.done()
        if busy and self._heard is not None and self._heard[1] == upstream:
            # Still waiting for the same promotion.
            self._heard = (epoch, upstream)
            return
        if self._task is not None:
            self._task.cancel()
        self._heard = (epoch, upstream)
        self._task = asyncio.create_task(self._listen(upstream), name=f"listen for the promotion of {upstream}")

    async def stop(self) -> None:
        """Stop listening; nothing is written any more when it returns."""
        task, self._task, self._heard = self._task, None, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _listen(self, upstream: Region) -> None:
        address = self._upstreams[upstream]
        try:
            async with asyncio.timeout(_LISTEN_TIMEOUT_S):
                while True:
                    try:
                        connection: psycopg.AsyncConnection[Any] = await psycopg.AsyncConnection.connect(
                            host=address.host,
                            port=address.port,
                            user=REPLICATOR,
                            password=self._password,
                            dbname=MAINTENANCE_DATABASE,
                            sslmode="disable",
                            gssencmode="disable",
                            connect_timeout=_CONNECT_TIMEOUT_S,
                            autocommit=True,
                        )
                        async with connection:
                            row = await (await connection.execute(_PROMOTED)).fetchone()
                    except (psycopg.Error, OSError):
                        await asyncio.sleep(_RETRY_S)
                        continue
                    break
        except TimeoutError:
            return
        if row is not None and row[0] is not None and row[1] is not None:
            self._keep(str(row[0]), bytes(row[1]), upstream)

    def _keep(self, timeline: str, history: bytes, upstream: Region) -> None:
        directory = self._directory
        path = directory / f"{timeline}.history"
        if path.exists() or not directory.exists():
            return
        partial = directory / f"{timeline}.history.leeward"
        with partial.open("wb") as file:
            file.write(history)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        sync_directory(directory)
        log.info("heard of a promotion", upstream=upstream, timeline=int(timeline, 16))
