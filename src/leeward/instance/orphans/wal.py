"""What a stretch of WAL committed, and which blocks it changed, by pg_waldump's text."""

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from leeward.instance.machine.lineage import Lineage
from leeward.instance.orphans.retry import ONCE_S, retry
from leeward.instance.postgres.server import CommandError, run
from leeward.instance.postgres.waldump import SEGMENT_BYTES, Stretch, segment_names, stretch_command
from leeward.instance.settings import ManagerSettings

File = tuple[int, int, int]
"""(tablespace, database, relation file), as in the WAL."""
FIRST_USER_NUMBER = 16384
"""PostgreSQL's FirstNormalObjectId: lower numbers are the catalogues'."""

_RECORD = re.compile(r"^rmgr: (\S+) .*?tx: +(\d+), .*?desc: (\S+)(.*)$")
_SUBTRANSACTIONS = re.compile(r"subxacts: ([\d ]+)")
# Blocks of the main fork: those of the visibility map say "fork vm" between the two.
_BLOCK = re.compile(r"rel (\d+)/(\d+)/(\d+) blk (\d+)")
_CREATED = re.compile(r"^ (?:(base)|pg_tblspc/(\d+)/[^/]+)/(\d+)/(\d+)(?![_\d])")
_NEXT_XID = re.compile(r"nextXid (\d+)")
_CHANGES = {"INSERT", "INSERT+INIT", "UPDATE", "UPDATE+INIT", "HOT_UPDATE", "HOT_UPDATE+INIT", "DELETE"} | {
    "MULTI_INSERT",
    "MULTI_INSERT+INIT",
}
_DEFAULT_TABLESPACE = 1663
_LINES_AT_ONCE = 20_000
# PostgreSQL writes a list of the running transactions every 15 s and at each checkpoint.
_LOOK_BACK_SEGMENTS = 16


@dataclass(slots=True)
class Changes:
    """What was read so far. Mutable: WAL is read piece by piece, in any order."""

    transactions: dict[int, frozenset[int]] = field(default_factory=dict)
    """Committed top-level transaction → its own id and those of its subtransactions."""
    files: dict[int, frozenset[File]] = field(default_factory=dict)
    """Transaction or subtransaction → files it changed rows of."""
    blocks: dict[File, set[int]] = field(default_factory=dict)
    """File → its blocks with rows that were written or deleted."""
    created: set[File] = field(default_factory=set)
    """New files: of new tables, and of tables that were rewritten."""
    _same: dict[frozenset[File], frozenset[File]] = field(default_factory=dict)

    @property
    def members(self) -> frozenset[int]:
        """All committed transactions and subtransactions."""
        return frozenset[int]().union(*self.transactions.values())

    def files_of(self, transaction: int) -> frozenset[File]:
        """Return what a committed transaction changed, its subtransactions included."""
        changed = (self.files.get(member, frozenset()) for member in self.transactions[transaction])
        return frozenset[File]().union(*changed)

    def read(self, lines: Iterable[str]) -> None:
        """Add WAL from after the fork."""
        for manager, xid, what, details in _records(lines):
            if manager == "Transaction" and what == "COMMIT":
                subtransactions = _SUBTRANSACTIONS.search(details)
                members = {int(word) for word in subtransactions[1].split()} if subtransactions else set[int]()
                self.transactions[xid] = frozenset({xid, *members})
            else:
                self._note(manager, xid, what, details)

    def read_earlier(self, lines: Iterable[str], xids: frozenset[int]) -> int | None:
        """Add what these transactions changed before the fork; return the first nextXid in it, if there is one."""
        first = None
        for manager, xid, what, details in _records(lines):
            if manager == "Standby":
                next_xid = _NEXT_XID.search(details) if what == "RUNNING_XACTS" else None
                first = int(next_xid[1]) if next_xid and first is None else first
            elif xid in xids:
                self._note(manager, xid, what, details)
        return first

    def _note(self, manager: str, xid: int, what: str, details: str) -> None:
        if manager in ("Heap", "Heap2") and what in _CHANGES:
            found = set(self.files.get(xid, ()))
            for tablespace, database, number, block in _BLOCK.findall(details):
                file = (int(tablespace), int(database), int(number))
                found.add(file)
                self.blocks.setdefault(file, set()).add(int(block))
            files = frozenset(found)
            # Thousands of transactions change the same few files.
            self.files[xid] = self._same.setdefault(files, files)
        elif manager == "Storage" and what == "CREATE":
            named = _CREATED.match(details)
            if named:
                tablespace = _DEFAULT_TABLESPACE if named[1] else int(named[2])
                self.created.add((tablespace, int(named[3]), int(named[4])))


def _records(lines: Iterable[str]) -> Iterable[tuple[str, int, str, str]]:
    for line in lines:
        record = _RECORD.match(line)
        if record is not None:
            yield record[1], int(record[2]), record[3], record[4]


def began_later(xids: Iterable[int], next_xid: int) -> bool:
    """Whether all of these transactions began after ``next_xid`` was the next to be given. They wrap at 2^32. Pure."""
    return all((xid - next_xid) % (1 << 32) < 1 << 31 for xid in xids)


def ranges(own: Lineage, start_lsn: int, end_lsn: int | None = None) -> tuple[Stretch, ...]:
    """Return the stretches of our WAL from ``start_lsn`` to ``end_lsn``, or to where it ends. Pure."""
    stretches, from_lsn = [], 0
    for timeline, until_lsn in own.segments:
        last_lsn = until_lsn if end_lsn is None else min(until_lsn, end_lsn)
        if last_lsn > max(from_lsn, start_lsn):
            stretches.append((timeline, max(from_lsn, start_lsn), last_lsn))
        from_lsn = until_lsn
    return tuple(stretches)


class WalGoneError(Exception):
    """A segment of the WAL has been removed and cannot be recovered."""


class Dump:
    """Runs pg_waldump on an instance's own WAL."""

    def __init__(self, settings: ManagerSettings, own: Lineage, *, isolated: bool) -> None:
        self._settings = settings
        self._own = own
        self._isolated = isolated

    async def read(self, fork_lsn: int, into: Path) -> Changes:
        """Write the text of all WAL after the fork to a file, and read it.

        Raises WalGoneError, CommandError.
        """
        changes = Changes()
        with into.open("wb") as file:
            for stretch in ranges(self._own, fork_lsn):
                await self._write(stretch, file)
        with into.open(encoding="utf-8", errors="replace") as text:
            while lines := list(islice(text, _LINES_AT_ONCE)):
                await asyncio.to_thread(changes.read, lines)
        return changes

    async def look_back(self, changes: Changes, fork_lsn: int, scratch: Path) -> bool:
        """Add what the committed transactions changed before the fork; False: some of it is no longer here.

        WAL does not record where a transaction began. It lists the next transaction's number now and then: none that
        is not lower began before that.
        """
        xids, end_lsn = changes.members, fork_lsn
        for _ in range(_LOOK_BACK_SEGMENTS):
            start_lsn = (end_lsn - 1) // SEGMENT_BYTES * SEGMENT_BYTES
            if start_lsn <= 0:
                return False
            # The last segment of a timeline continues in a file of the next one.
            for stretch in reversed(ranges(self._own, start_lsn, end_lsn)):
                try:
                    await retry(partial(self._write_to, scratch, stretch), ONCE_S)
                except (WalGoneError, CommandError):
                    return False
                with scratch.open(encoding="utf-8", errors="replace") as text:
                    next_xid = await asyncio.to_thread(changes.read_earlier, text, xids)
                if next_xid is not None and began_later(xids, next_xid):
                    return True
            end_lsn = start_lsn
        return False

    async def _write_to(self, scratch: Path, stretch: Stretch) -> None:
        with scratch.open("wb") as file:
            await self._write(stretch, file)

    async def _write(self, stretch: Stretch, file: BinaryIO) -> None:
        directory = self._settings.layout.data / "pg_wal"
        gone = [name for name in segment_names((stretch,)) if not (directory / name).exists()]
        if gone:
            raise WalGoneError(f"segment {gone[0]} is gone")
        await run(
            stretch_command(self._settings.binaries, directory, stretch),
            isolated=self._isolated,
            timeout_s=None,
            output_to=file,
        )


def users_files(changes: Changes, known: Mapping[File, bool], own_oid: int) -> frozenset[File]:
    """Return the changed files that hold a user's rows. Pure.

    ``known``: files → whether they are a user's. ``own_oid``: of the database that holds only Leeward's.

    A file missing from every catalogue is of a table that was dropped, truncated or rewritten after the fork.
    """
    return frozenset(
        file for file in changes.blocks if known.get(file, file[2] >= FIRST_USER_NUMBER and file[1] != own_oid)
    )
