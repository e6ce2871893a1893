"""Committed writes that a new history does not have: found in the WAL, read as rows, kept as JSON lines.

What is kept per epoch, below the instance's ``orphans`` directory:
``epoch-N.jsonl`` one line per row version written by an orphaned transaction (table, xid, row);
``epoch-N.wal`` pg_waldump's text of the orphaned range: deletions show only there;
``epoch-N.json`` the summary that the status reports.
Rows that a later orphaned transaction overwrote or deleted have no line of their own. A transaction that changed
nothing after the fork, but committed there, is known by its rows: one that only deleted is not found.
"""

import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from leeward.adapters.postgres.lineage import Lineage, format_lsn
from leeward.adapters.postgres.server import run
from leeward.adapters.postgres.session import Session
from leeward.adapters.postgres.settings import ManagerSettings
from leeward.adapters.postgres.state import write_durably
from leeward.core.codec import decode, encode
from leeward.core.values import Orphans

_RECORD = re.compile(r"^rmgr: (\S+) .*?tx: +(\d+), .*?desc: (\S+)(.*)$")
_SUBTRANSACTIONS = re.compile(r"subxacts: ([\d ]+)")
_RELATION = re.compile(r"rel \d+/(\d+)/(\d+)")
_CHANGES = {"INSERT", "INSERT+INIT", "UPDATE", "UPDATE+INIT", "HOT_UPDATE", "HOT_UPDATE+INIT", "DELETE"} | {
    "MULTI_INSERT",
    "MULTI_INSERT+INIT",
}
_DUMP_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Commits:
    """What a stretch of WAL committed."""

    transactions: Mapping[int, frozenset[int]] = field(default_factory=dict)
    """Top-level transaction → its own and its subtransactions' ids."""
    touched: Mapping[int, frozenset[tuple[int, int]]] = field(default_factory=dict)
    """Transaction or subtransaction → (database, relation file) it changed rows of."""


def read_commits(lines: Iterable[str]) -> Commits:
    """Read pg_waldump's text. Pure."""
    transactions: dict[int, frozenset[int]] = {}
    touched: dict[int, set[tuple[int, int]]] = {}
    for line in lines:
        record = _RECORD.match(line)
        if record is None:
            continue
        manager, xid, what, details = record[1], int(record[2]), record[3], record[4]
        if manager == "Transaction" and what == "COMMIT":
            subtransactions = _SUBTRANSACTIONS.search(details)
            members = {int(word) for word in subtransactions[1].split()} if subtransactions else set[int]()
            transactions[xid] = frozenset({xid, *members})
        elif manager in ("Heap", "Heap2") and what in _CHANGES:
            files = {(int(found[1]), int(found[2])) for found in _RELATION.finditer(details)}
            touched.setdefault(xid, set()).update(files)
    return Commits(transactions, {xid: frozenset(files) for xid, files in touched.items()})


def ranges(own: Lineage, fork_lsn: int) -> tuple[tuple[int, int, int], ...]:
    """Return the (timeline, start, end) stretches of our WAL after the fork. Pure."""
    stretches, start_lsn = [], 0
    for timeline, end_lsn in own.segments:
        if end_lsn > max(start_lsn, fork_lsn):
            stretches.append((timeline, max(start_lsn, fork_lsn), end_lsn))
        start_lsn = end_lsn
    return tuple(stretches)


def saved(directory: Path) -> tuple[Orphans, ...]:
    """Return what has been kept so far, oldest epoch first."""
    found = [decode(Orphans, path.read_bytes()) for path in directory.glob("epoch-*.json")]
    return tuple(sorted(found, key=lambda orphans: orphans.epoch))


async def save(
    settings: ManagerSettings, session: Session, own: Lineage, fork_lsn: int, epoch: int, *, isolated: bool
) -> Orphans | None:
    """Keep everything committed after ``fork_lsn`` under ``epoch``; None when no transaction of a user was.

    PostgreSQL runs detached on the old data, all replayed. May be repeated: it writes the same again.
    Raises CommandError (a part of the WAL is gone), psycopg.Error, OSError.
    """
    text = ""
    for timeline, start_lsn, end_lsn in ranges(own, fork_lsn):
        text += await run(
            (
                str(settings.binaries / "pg_waldump"),
                f"--path={settings.layout.data / 'pg_wal'}",
                f"--timeline={timeline}",
                f"--start={format_lsn(start_lsn)}",
                f"--end={format_lsn(end_lsn)}",
            ),
            isolated=isolated,
            timeout_s=_DUMP_TIMEOUT_S,
        )
    commits = read_commits(text.splitlines())
    connection = await session.connect(settings.database)
    async with connection:
        tables = await _user_tables(connection)
        written = {
            top: members
            for top, members in commits.transactions.items()
            if any(not tables.keys().isdisjoint(commits.touched.get(member, ())) for member in members)
        }
        # What these changed is on both sides of the fork, their commits are not: only their rows tell whose they were.
        begun_before = {
            top: members
            for top, members in commits.transactions.items()
            if not any(member in commits.touched for member in members)
        }
        xids = frozenset[int]().union(*written.values(), *begun_before.values())
        if not xids:
            return None
        rows = [row async for row in _rows(connection, tables.values(), xids)]
        found = frozenset(xid for xid, _ in rows)
        orphaned = {*written, *(top for top, members in begun_before.items() if not found.isdisjoint(members))}
        if not orphaned:
            return None
    path = settings.layout.orphans / f"epoch-{epoch}.jsonl"
    orphans = Orphans(epoch=epoch, transactions=len(orphaned), rows=len(rows), path=str(path))
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_durably(path.with_suffix(".wal"), text.encode())
    write_durably(path, "".join(f"{line}\n" for _, line in rows).encode())
    write_durably(path.with_suffix(".json"), encode(orphans).encode())
    return orphans


async def _user_tables(
    connection: psycopg.AsyncConnection[tuple[object, ...]],
) -> dict[tuple[int, int], tuple[str, str]]:
    cursor = await connection.execute(
        """
        SELECT (SELECT oid FROM pg_database WHERE datname = current_database())::int8,
               pg_relation_filenode(c.oid)::int8, n.nspname, c.relname
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND c.relpersistence = 'p'
           AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'leeward')
        """
    )
    found = {}
    async for database, file, schema, name in cursor:
        found[int(str(database)), int(str(file))] = (str(schema), str(name))
    return found


async def _rows(
    connection: psycopg.AsyncConnection[tuple[object, ...]],
    tables: Iterable[tuple[str, str]],
    xids: frozenset[int],
) -> AsyncIterator[tuple[int, str]]:
    """Yield every row that these transactions wrote, with its transaction."""
    for schema, name in sorted(tables):
        cursor = await connection.execute(
            sql.SQL(
                "SELECT t.xmin::text, row_to_json(t)::text FROM {} t WHERE t.xmin::text = ANY(%s) ORDER BY 1"
            ).format(sql.Identifier(schema, name)),
            ([str(xid) for xid in sorted(xids)],),
        )
        async for xid, row in cursor:
            entry = {"table": f"{schema}.{name}", "xid": int(str(xid)), "row": json.loads(str(row))}
            yield int(str(xid)), json.dumps(entry, separators=(",", ":"))
