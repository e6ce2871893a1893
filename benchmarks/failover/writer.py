"""A client inside one region: writes to whichever PostgreSQL lets it, and notes what was acknowledged, and when.

It holds a connection to every region's PostgreSQL and tries each all the time, so that it finds a new primary
at once: no proxy, no name, no pool has to notice first. Patroni's best case.
Usage: writer.py SETTINGS
"""

import asyncio
import contextlib
import itertools
import sys
import time
from pathlib import Path
from typing import BinaryIO

import psycopg
from measure import Acknowledged
from peer_settings import POSTGRES_PORT, PeerSettings, postgres_host

from leeward.core.codec import decode, encode

PAUSE_S = 0.02
TIMEOUT_S = 2
ACKNOWLEDGED = "acknowledged.jsonl"
TABLE = "CREATE TABLE IF NOT EXISTS writes (id text PRIMARY KEY)"
INSERT = "INSERT INTO writes (id) VALUES (%s)"


async def write_to(region: str, host: str, source: str, ledger: BinaryIO) -> None:
    """Write to one PostgreSQL for ever; go on after every failure."""
    for attempt in itertools.count():
        # Read-only, unreachable, too slow, no table yet: all the same to a client that just tries again.
        with contextlib.suppress(psycopg.Error, TimeoutError, OSError):
            async with asyncio.timeout(TIMEOUT_S):
                connection = await psycopg.AsyncConnection.connect(
                    host=host,
                    port=POSTGRES_PORT,
                    user="postgres",
                    dbname="postgres",
                    connect_timeout=TIMEOUT_S,
                    autocommit=True,
                )
            async with connection:
                await write_over(connection, region, f"{source}-{region}-{attempt}", ledger)
        await asyncio.sleep(PAUSE_S)


async def write_over(
    connection: psycopg.AsyncConnection[tuple[object, ...]], region: str, name: str, ledger: BinaryIO
) -> None:
    """Write over one connection while it lasts; a standby's refusals do not end it."""
    for number in itertools.count():
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await connection.execute(INSERT, (f"{name}-{number}",))
        except psycopg.errors.ReadOnlySqlTransaction:
            pass
        except psycopg.errors.UndefinedTable:
            await connection.execute(TABLE)
        else:
            at_boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
            ledger.write(encode(Acknowledged(at_boot_s, region, f"{name}-{number}")).encode() + b"\n")
        await asyncio.sleep(PAUSE_S)


async def write(settings: PeerSettings) -> None:
    """Write to all regions at once."""
    with (Path(settings.directory) / ACKNOWLEDGED).open("ab", buffering=0) as ledger:
        async with asyncio.TaskGroup() as group:
            for region, index in settings.regions.items():
                group.create_task(write_to(region, postgres_host(index), settings.region, ledger))


if __name__ == "__main__":
    asyncio.run(write(decode(PeerSettings, Path(sys.argv[1]).read_bytes())))
