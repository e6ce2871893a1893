"""Reading a lineage from a PostgreSQL. Comparing two is ``leeward.instance.machine.lineage``'s."""

from typing import Any, LiteralString

import psycopg

from leeward.base.units import parse_lsn
from leeward.instance.machine.lineage import Lineage
from leeward.instance.postgres.connection import for_replication
from leeward.instance.settings import Endpoint, ManagerSettings


def parse_history(text: str) -> tuple[tuple[int, int], ...]:
    """Return (timeline, LSN where it was left) of each line of a timeline history file."""
    lines = (line.split() for line in text.splitlines())
    return tuple((int(words[0]), parse_lsn(words[1])) for words in lines if words and words[0].isdigit())


async def ask(settings: ManagerSettings, address: Endpoint | None, password: str) -> Lineage:
    """Read the lineage of an upstream, or our own when ``address`` is None.

    One connection that speaks both replication and SQL. Raises psycopg.Error; the caller sets the deadline.
    """
    connection = await for_replication(settings, address, password)
    async with connection:
        system, timeline, end, _ = await _row(connection, "IDENTIFY_SYSTEM")
        history: tuple[tuple[int, int], ...] = ()
        if int(timeline) > 1:
            _, content = await _row(connection, f"TIMELINE_HISTORY {int(timeline)}")
            history = parse_history(content.decode() if isinstance(content, bytes) else content)
        in_recovery, replayed, epochs = await _row(connection, _EPOCHS)
    return Lineage(
        system=system,
        segments=(*history, (int(timeline), parse_lsn(end))),
        epochs=frozenset(int(number) for number in (epochs or "").split(",") if number),
        in_recovery=in_recovery,
        replayed_lsn=int(replayed or 0),
    )


_EPOCHS: LiteralString = """
SELECT pg_catalog.pg_is_in_recovery(), (pg_catalog.pg_last_wal_replay_lsn() - '0/0')::bigint,
       (SELECT pg_catalog.string_agg(epoch::text, ',') FROM leeward.epoch)
"""


async def _row(connection: psycopg.AsyncConnection[Any], command: str) -> Any:
    # Replication commands exist only in the simple protocol, which psycopg uses without parameters.
    cursor = await connection.execute(command.encode())
    row = await cursor.fetchone()
    if row is None:
        raise psycopg.DataError(f"{command.split()[0]} returned no row")
    return row
