"""Rows of orphaned transactions, read with bounds from a PostgreSQL that replays nothing.

Values are what COPY prints: PostgreSQL's own text of each, by its type's output function, which its input function
reads back to the same value. No cast is involved, since a cast may be another text, and may be a user's function.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from leeward.instance.orphans.retry import retry
from leeward.instance.orphans.wal import FIRST_USER_NUMBER, File
from leeward.instance.postgres.connection import as_manager, to_read
from leeward.instance.settings import ManagerSettings

TABLE_TIMEOUT_S = 120
"""How long one table may be read."""
LOCK_TIMEOUT_S = 1
_BLOCKS_AT_ONCE = 1024
_YIELD_ROWS = 200

# Each relation with rows: the catalogues are none of a user's, but large objects are.
_RELATIONS: LiteralString = """
SELECT CASE WHEN c.relisshared THEN 1664 ELSE coalesce(nullif(c.reltablespace, 0), d.dattablespace) END::int8,
       CASE WHEN c.relisshared THEN 0 ELSE d.oid END::int8,
       pg_catalog.pg_relation_filenode(c.oid)::int8,
       c.oid >= %s OR c.relname IN ('pg_largeobject', 'pg_largeobject_metadata')
           AND n.nspname = 'pg_catalog',
       c.relkind = 'r' AND c.relpersistence = 'p',
       n.nspname, c.relname, pg_catalog.format('%%I.%%I', n.nspname, c.relname),
       CASE WHEN c.relispartition
            THEN (SELECT pg_catalog.format('%%I.%%I', pn.nspname, p.relname)
                    FROM pg_catalog.pg_class p JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
                   WHERE p.oid = pg_catalog.pg_partition_root(c.oid)) END,
       EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.relation = c.oid AND l.database IN (0, d.oid) AND l.granted
                  AND l.mode = 'AccessExclusiveLock'),
       (SELECT pg_catalog.json_agg(
                   pg_catalog.json_build_array(
                       a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attgenerated = 's')
                   ORDER BY a.attnum)
          FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v')
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, pg_catalog.pg_database d
 WHERE d.datname = pg_catalog.current_database() AND c.relkind IN ('r', 't', 'm')
   AND pg_catalog.pg_relation_filenode(c.oid) IS NOT NULL
 ORDER BY n.nspname, c.relname
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column that is stored."""

    name: str
    type: str
    generated: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A user's table, as the deposed primary's catalogue has it."""

    database: str
    schema: str
    name: str
    text: str
    """Schema and name as one writes them in SQL."""
    file: File
    columns: tuple[Column, ...]
    partition_of: str | None
    locked: bool
    """A transaction that was under way at the crash holds it, and on a standby never ends."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What one database consists of."""

    tables: tuple[Table, ...]
    files: dict[File, bool]
    """Known files → whether they hold a user's rows."""


class Reader:
    """A session on one database. Raises psycopg.Error, TimeoutError."""

    def __init__(self, settings: ManagerSettings, database: str, replayed: Callable[[], Awaitable[None]]) -> None:
        """``replayed`` returns when PostgreSQL has replayed all its WAL: after a crash it replays again."""
        self._settings = settings
        self._database = database
        self._replayed = replayed
        self._connection: psycopg.AsyncConnection[TupleRow] | None = None

    async def catalogue(self) -> Catalogue:
        """Read what there is."""
        connection = await self._connected()
        tables, files = [], {}
        cursor = await connection.execute(_RELATIONS, (FIRST_USER_NUMBER,))
        async for tablespace, database, number, users, readable, schema, name, text, root, locked, columns in cursor:
            file = (tablespace, database, number)
            files[file] = users
            if users and readable:
                stored = tuple(Column(*column) for column in columns or ())
                tables.append(Table(self._database, schema, name, text, file, stored, root, locked))
        return Catalogue(tuple(tables), files)

    async def rows(
        self, table: Table, xids: Collection[int], blocks: Collection[int] | None
    ) -> AsyncGenerator[tuple[int, dict[str, str | None]], None]:
        """Yield each row of these transactions with its transaction. ``blocks``: only there; None for everywhere."""
        connection = await self._connected()
        names = [column.name for column in table.columns]
        for part in (None,) if blocks is None else _parts(sorted(blocks)):
            async with connection.cursor() as cursor, cursor.copy(statement(table, xids, part)) as copy:
                count = 0
                async for xid, *values in copy.rows():
                    yield int(str(xid)), dict(zip(names, values, strict=True))
                    count += 1
                    if count % _YIELD_ROWS == 0:
                        # Rows that are here already are handed over without a wait: the status is due, too.
                        await asyncio.sleep(0)

    async def close(self) -> None:
        """Disconnect; the next call connects again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self) -> psycopg.AsyncConnection[TupleRow]:
        if self._connection is None or self._connection.closed:
            self._connection = await retry(lambda: _connect(self._settings, self._database))
            await self._replayed()
        return self._connection


async def _connect(settings: ManagerSettings, database: str) -> psycopg.AsyncConnection[TupleRow]:
    connection = await to_read(settings, database)
    await connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'".encode())
    await connection.execute(f"SET statement_timeout = '{TABLE_TIMEOUT_S}s'".encode())
    return connection


async def databases(settings: ManagerSettings) -> dict[int, str]:
    """Return every database that takes connections, our own too, by its oid. Raises psycopg.Error."""
    async with await as_manager(settings) as connection:
        cursor = await connection.execute("SELECT oid::int8, datname FROM pg_catalog.pg_database WHERE datallowconn")
        return {int(oid): str(name) for oid, name in await cursor.fetchall()}


def statement(table: Table, xids: Collection[int], blocks: Collection[int] | None) -> sql.Composed:
    """Return the COPY of a table's rows by these transactions. Pure.

    ONLY: rows of children are read as theirs. No alias: a column of the same name would be taken for it, whereas none
    can have a system column's name. The comparisons are by constant lists, so blocks are visited one by one, and each
    row's transaction is looked up in a hash table.
    """
    where = sql.SQL("xmin = ANY ({}::xid[])").format(_array(xids))
    if blocks is not None:
        # 291 rows is the most that a page of 8 kB holds (MaxHeapTuplesPerPage).
        where = sql.SQL(
            "ctid = ANY (ARRAY(SELECT pg_catalog.format('(%s,%s)', b.number, o.number)::tid"
            " FROM pg_catalog.unnest({}::int8[]) AS b(number), pg_catalog.generate_series(1, 291) AS o(number))) AND {}"
        ).format(_array(blocks), where)
    columns = sql.SQL(", ").join([sql.Identifier("xmin"), *(sql.Identifier(column.name) for column in table.columns)])
    return sql.SQL("COPY (SELECT {} FROM ONLY {} WHERE {}) TO STDOUT").format(
        columns, sql.Identifier(table.schema, table.name), where
    )


def _parts(blocks: Sequence[int]) -> Iterator[Sequence[int]]:
    return (blocks[at : at + _BLOCKS_AT_ONCE] for at in range(0, len(blocks), _BLOCKS_AT_ONCE))


def _array(numbers: Collection[int]) -> sql.Literal:
    return sql.Literal("{" + ",".join(map(str, sorted(numbers))) + "}")


Mark = tuple[int, int, int]
"""A place in the file of orphans: position, bytes left, rows."""


class FullError(Exception):
    """The file of orphans may not grow any more."""


class Lines:
    """The file of orphans, one JSON object a line. ASCII only: any other character is escaped."""

    def __init__(self, path: Path, bytes_max: int) -> None:
        self._file = path.open("w", encoding="ascii")
        self._left_bytes = bytes_max
        self.rows = 0

    def table(self, table: Table, *, new_file: bool) -> None:
        """Describe a table whose rows follow."""
        self._write(
            {
                "database": table.database,
                "table": table.text,
                "partition_of": table.partition_of,
                "columns": {column.name: column.type for column in table.columns},
                "generated": [column.name for column in table.columns if column.generated],
                "new_file": new_file,
            }
        )

    def row(self, table: Table, xid: int, values: dict[str, str | None]) -> None:
        """Add a row. Raises FullError."""
        if self._left_bytes <= 0:
            raise FullError
        self._write({"database": table.database, "table": table.text, "xid": xid, "row": values})
        self.rows += 1

    def mark(self) -> Mark:
        """Return where it ends now."""
        return self._file.tell(), self._left_bytes, self.rows

    def back_to(self, mark: Mark) -> None:
        """Remove what was added since."""
        end, self._left_bytes, self.rows = mark
        self._file.seek(end)
        self._file.truncate()

    def unread(self, table: str, because: str) -> None:
        """Add what could not be read."""
        self._write({"table": table, "unread": because})

    def _write(self, entry: dict[str, object]) -> None:
        line = json.dumps(entry, separators=(",", ":")) + "\n"
        self._left_bytes -= len(line)
        self._file.write(line)

    def close(self) -> None:
        """Close it; everything is with the kernel then."""
        self._file.close()
