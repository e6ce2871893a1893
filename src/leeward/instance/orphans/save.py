"""Find the committed writes that a new history does not have, and keep them.

What is kept per epoch, below the instance's ``orphans`` directory:
``epoch-N.jsonl`` each row as its last orphaned transaction left it, and what could not be read;
``epoch-N.wal`` pg_waldump's text of the orphaned range: deletions show only there;
``epoch-N.json`` the summary that the status reports;
``epoch-N.pgdata`` or ``epoch-N.segments``, only when something could not be read: the raw data.

A rejoin waits for this, so it is bounded in time, and reports what it cannot read. Only what cannot be *written*
stops it: the rows exist nowhere else once the instance has taken another history.
"""

import asyncio
import shutil
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path

import psycopg

from leeward.core.codec import decode, encode
from leeward.core.values import Orphans, Unread
from leeward.instance.machine.lineage import Lineage
from leeward.instance.orphans import wal
from leeward.instance.orphans.evidence import keep_evidence
from leeward.instance.orphans.retry import ONCE_S, retry
from leeward.instance.orphans.tables import (
    TABLE_TIMEOUT_S,
    FullError,
    Lines,
    Reader,
    Table,
    databases,
)
from leeward.instance.postgres.configuration import OWN_DATABASE
from leeward.instance.postgres.lineage import ask
from leeward.instance.postgres.server import CommandError
from leeward.instance.postgres.session import Session
from leeward.instance.postgres.waldump import segment_names
from leeward.instance.settings import ManagerSettings
from leeward.instance.state import sync_directory, sync_file, write_durably

_TIMEOUT_S = 300.0
_POLL_S = 0.05
# A status travels in every heartbeat.
_NAMED_MAX = 8
_LOCKED = "locked by a transaction that was under way at the crash"


def saved(directory: Path) -> tuple[Orphans, ...]:
    """Return what has been kept so far, oldest epoch first."""
    found = [decode(Orphans, path.read_bytes()) for path in directory.glob("epoch-*.json")]
    return tuple(sorted(found, key=lambda orphans: orphans.epoch))


async def save(
    settings: ManagerSettings,
    session: Session,
    own: Lineage,
    fork_lsn: int,
    epoch: int,
    *,
    isolated: bool,
    timeout_s: float = _TIMEOUT_S,
) -> Orphans | None:
    """Keep everything committed after ``fork_lsn`` under ``epoch``; None when no transaction of a user was.

    PostgreSQL runs detached on the old data. May be repeated: it writes the same again. Returns within about
    ``timeout_s``, whatever PostgreSQL does. Raises OSError when the files cannot be written.
    """
    directory = settings.layout.orphans
    directory.mkdir(mode=0o700, exist_ok=True)
    base = directory / f"epoch-{epoch}.jsonl"
    rows_part, wal_part, scratch = (directory / f"{base.stem}.{kind}.partial" for kind in ("rows", "wal", "scratch"))
    lines = Lines(rows_part, await asyncio.to_thread(_room_bytes, directory))
    await asyncio.to_thread(wal_part.touch)
    search = _Search(settings, session, own, lines, isolated=isolated)
    try:
        try:
            async with asyncio.timeout(timeout_s):
                await search.run(fork_lsn, wal_part, scratch)
        except TimeoutError:
            search.give_up(f"not read within {timeout_s:g} s for all tables")
        except (wal.WalGoneError, CommandError) as error:
            search.give_up(f"unknown: part of the WAL cannot be read: {error}")
        except psycopg.Error as error:
            search.give_up(_reason(error))
        finally:
            await search.close()
            lines.close()
        if not search.transactions and not search.unread:
            return None
        stretches = wal.ranges(search.own, fork_lsn)
        evidence = ""
        if search.unread:
            evidence = await asyncio.to_thread(keep_evidence, settings.layout, epoch, segment_names(stretches))
        orphans = Orphans(
            epoch=epoch,
            transactions=len(search.transactions),
            rows=lines.rows,
            path=str(base),
            unread=tuple(search.unread[:_NAMED_MAX]),
            unread_tables=len(search.unread),
            evidence=evidence,
        )
        await asyncio.to_thread(_install, wal_part, base.with_suffix(".wal"))
        await asyncio.to_thread(_install, rows_part, base)
        write_durably(base.with_suffix(".json"), encode(orphans).encode())
        return orphans
    finally:
        for path in (rows_part, wal_part, scratch):
            path.unlink(missing_ok=True)


class _Search:
    """One search for orphans. What it found so far is valid at any time."""

    def __init__(
        self, settings: ManagerSettings, session: Session, own: Lineage, lines: Lines, *, isolated: bool
    ) -> None:
        self.own = own
        self.unread: list[Unread] = []
        self.transactions: set[int] = set()
        self._settings = settings
        self._session = session
        self._lines = lines
        self._isolated = isolated
        self._readers: dict[str, Reader] = {}
        self._tables: list[Table] | None = None
        """Those still to be read; None before they are known."""
        self._own_oid = 0
        """Of Leeward's own database: no user's rows are there."""

    async def run(self, fork_lsn: int, wal_text: Path, scratch: Path) -> None:
        """Search. Raises WalGoneError, CommandError, psycopg.Error, TimeoutError."""
        self.own = await retry(self._ask)
        dump = wal.Dump(self._settings, self.own, isolated=self._isolated)
        changes = await retry(lambda: dump.read(fork_lsn, wal_text))
        if not changes.transactions:
            return
        # Rows that an orphaned transaction wrote before the fork are on both sides of it, but its commit is not.
        complete = await dump.look_back(changes, fork_lsn, scratch)
        tables, files = await self._catalogues({file[1] for file in changes.blocks} if complete else None)
        users = wal.users_files(changes, files, self._own_oid)
        self.transactions = {top for top in changes.transactions if not changes.files_of(top).isdisjoint(users)}
        if complete and not self.transactions:
            return
        relevant = self.transactions if complete else changes.transactions.keys()
        tops = {member: top for top in relevant for member in changes.transactions[top]}
        self._tables = [
            table for table in tables if not complete or table.file in changes.created or table.file in changes.blocks
        ]
        # A locked table costs no time; the others must not wait behind it.
        self._tables.sort(key=lambda table: not table.locked)
        found = set[int]()
        while self._tables:
            table = self._tables[0]
            new_file = table.file in changes.created
            blocks = changes.blocks[table.file] if complete and not new_file else None
            await self._read(table, tops, blocks, found, new_file=new_file)
            self._tables.pop(0)
        if not complete:
            self.transactions |= {top for top, members in changes.transactions.items() if not found.isdisjoint(members)}

    async def _ask(self) -> Lineage:
        await self._replayed()
        return await ask(self._settings, None, "")

    async def _replayed(self) -> None:
        """Return when nothing is left to replay: started after a crash, PostgreSQL answers long before that."""
        while True:
            try:
                if (await self._session.observe()).replay_idle:
                    return
            except (psycopg.Error, TimeoutError):
                pass
            await asyncio.sleep(_POLL_S)

    async def _catalogues(self, only: set[int] | None) -> tuple[list[Table], dict[wal.File, bool]]:
        """Read what databases consist of: ``only`` those with these oids, None for all."""
        tables: list[Table] = []
        files: dict[wal.File, bool] = {}
        for oid, database in sorted((await retry(lambda: databases(self._settings))).items()):
            if database == OWN_DATABASE:
                self._own_oid = oid
            if database == OWN_DATABASE or (only is not None and oid not in only):
                continue
            reader = self._readers[database] = Reader(self._settings, database, self._replayed)
            try:
                async with asyncio.timeout(TABLE_TIMEOUT_S):
                    catalogue = await retry(reader.catalogue, ONCE_S)
            except (psycopg.Error, TimeoutError, UnicodeError) as error:
                self._fail(f"every table of database {database}", _reason(error))
                continue
            tables += catalogue.tables
            files |= catalogue.files
        return tables, files

    async def _read(
        self, table: Table, tops: Mapping[int, int], blocks: set[int] | None, found: set[int], *, new_file: bool
    ) -> None:
        """Keep the rows that orphaned transactions wrote. ``tops``: of each transaction, the one it is a part of."""
        if table.locked:
            self._fail(table.text, _LOCKED)
            return
        reader, mark = self._readers[table.database], self._lines.mark()
        before = self._lines.rows

        async def read() -> None:
            self._lines.back_to(mark)
            async with aclosing(reader.rows(table, frozenset(tops), blocks)) as rows:
                async for xid, values in rows:
                    if self._lines.rows == before:
                        self._lines.table(table, new_file=new_file)
                    self._lines.row(table, tops[xid], values)
                    found.add(xid)

        try:
            async with asyncio.timeout(TABLE_TIMEOUT_S):
                await retry(read, ONCE_S)
            return
        except FullError:
            because = "the file of orphans reached its size limit: it would fill the disk"
        except (psycopg.errors.QueryCanceled, TimeoutError):
            because = f"not read within {TABLE_TIMEOUT_S} s"
        except psycopg.errors.LockNotAvailable:
            because = f"{_LOCKED}, or an index of it is"
        except (psycopg.Error, UnicodeError) as error:
            because = _reason(error)
        got = self._lines.rows - before
        self._fail(table.text, f"{because}; {got} rows of it were" if got else because)
        await reader.close()

    def give_up(self, because: str) -> None:
        """Report what has not been read yet."""
        for name in ["every table"] if self._tables is None else [table.text for table in self._tables]:
            self._fail(name, because)

    def _fail(self, table: str, because: str) -> None:
        self.unread.append(Unread(table, because))
        self._lines.unread(table, because)

    async def close(self) -> None:
        """Disconnect."""
        for reader in self._readers.values():
            await reader.close()


def _reason(error: Exception) -> str:
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return "a catalogue is " + _LOCKED
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _room_bytes(directory: Path) -> int:
    """Return how long the file of orphans may become: a quarter of what is free."""
    return shutil.disk_usage(directory).free // 4


def _install(partial: Path, path: Path) -> None:
    """Give a complete file its name. Durable."""
    sync_file(partial)
    partial.rename(path)
    sync_directory(path.parent)
