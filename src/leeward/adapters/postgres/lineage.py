"""Whose history is whose: timelines, where they fork, and when divergence is certain.

The comparison is pure. A timeline's number alone proves nothing (two instances that were promoted from the
same one pick the same number), so the forks' positions and the epochs written into the database count too.
"""

from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from leeward.adapters.postgres.configuration import REPLICATOR, SUPERUSER
from leeward.adapters.postgres.settings import Endpoint, ManagerSettings


@dataclass(frozen=True, slots=True)
class Lineage:
    """The history one instance holds."""

    system: str
    """The database's identifier, the same for all copies of it."""
    segments: tuple[tuple[int, int], ...]
    """(timeline, LSN where it ends), oldest first; the last one ends where the WAL does."""
    epochs: frozenset[int]
    """Epochs recorded in the database, as far as they are visible."""
    in_recovery: bool
    replayed_lsn: int

    @property
    def timeline(self) -> int:
        """The timeline it is on."""
        return self.segments[-1][0]

    @property
    def end_lsn(self) -> int:
        """How far its WAL goes."""
        return self.segments[-1][1]


@dataclass(frozen=True, slots=True)
class Compatible:
    """Our history is part of theirs: streaming may go on from where we are."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """Too early to tell; asking again later will."""

    because: str


@dataclass(frozen=True, slots=True)
class Diverged:
    """We hold history that theirs will never have, from ``fork_lsn`` on."""

    fork_lsn: int
    rewindable: bool
    """pg_rewind sees it too: it tells histories apart by timeline numbers only."""
    because: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """Not a copy of the same database at all."""


Verdict = Compatible | Undecided | Diverged | Foreign


def compare(own: Lineage, theirs: Lineage, *, epoch: int) -> Verdict:
    """Judge our history against our upstream's, for an order of ``epoch``.

    Nobody gives up a history of their own for that of a server in recovery: it may itself be about to be rewound.
    """
    verdict = _compare(own, theirs, epoch=epoch)
    if isinstance(verdict, Diverged) and theirs.in_recovery:
        return Undecided(f"{verdict.because}, and they are no primary")
    return verdict


def _compare(own: Lineage, theirs: Lineage, *, epoch: int) -> Verdict:
    if own.system != theirs.system:
        return Foreign()
    start_lsn = 0
    for index, ((own_timeline, own_end), (their_timeline, their_end)) in enumerate(
        zip(own.segments, theirs.segments, strict=False)
    ):
        own_is_last, theirs_is_last = index == len(own.segments) - 1, index == len(theirs.segments) - 1
        if own_timeline != their_timeline:
            return Diverged(start_lsn, True, f"timeline {own_timeline} is not in their history")
        if own_is_last and theirs_is_last:
            return _same_timeline(own, theirs, start_lsn, epoch)
        if own_is_last:
            if own_end > their_end:
                return Diverged(their_end, True, f"timeline {own_timeline} went on past their fork")
            return _epochs(own, theirs, start_lsn, epoch)
        if theirs_is_last:
            if their_end > own_end:
                return Diverged(own_end, True, f"they went on with timeline {own_timeline} past our fork")
            return Undecided(f"they are still on timeline {their_timeline}")
        if own_end != their_end:
            fork_lsn = min(own_end, their_end)
            return Diverged(fork_lsn, own.timeline != theirs.timeline, "timelines fork at different points")
        start_lsn = own_end
    raise AssertionError("a lineage has at least one segment")


def _same_timeline(own: Lineage, theirs: Lineage, start_lsn: int, epoch: int) -> Verdict:
    if own.end_lsn > theirs.end_lsn:
        return Undecided("they hold less of the same timeline")
    return _epochs(own, theirs, start_lsn, epoch)


def _epochs(own: Lineage, theirs: Lineage, start_lsn: int, epoch: int) -> Verdict:
    # The record of the epoch in force may still wait for its standbys there, so it does not count.
    unknown = sorted(number for number in own.epochs - theirs.epochs if number < epoch)
    if not unknown:
        return Compatible()
    if theirs.in_recovery and theirs.replayed_lsn < own.end_lsn:
        return Undecided("they have not replayed as far as we have")
    return Diverged(start_lsn, own.timeline != theirs.timeline, f"their history has no epoch {unknown[0]}")


def parse_lsn(text: str) -> int:
    """Return PostgreSQL's ``X/Y`` as an integer."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def format_lsn(lsn: int) -> str:
    """Return an integer as PostgreSQL's ``X/Y``."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_history(text: str) -> tuple[tuple[int, int], ...]:
    """Return (timeline, LSN where it was left) of each line of a timeline history file."""
    lines = (line.split() for line in text.splitlines())
    return tuple((int(words[0]), parse_lsn(words[1])) for words in lines if words and words[0].isdigit())


async def ask(settings: ManagerSettings, address: Endpoint | None, password: str) -> Lineage:
    """Read the lineage of an upstream, or our own when ``address`` is None.

    One connection that speaks both replication and SQL. Raises psycopg.Error; the caller sets the deadline.
    """
    where: dict[str, Any] = (
        {"host": str(settings.layout.socket), "port": settings.postgres.port, "user": SUPERUSER}
        if address is None
        else {"host": address.host, "port": address.port, "user": REPLICATOR, "password": password}
    )
    connection = await psycopg.AsyncConnection.connect(
        **where,
        dbname=settings.database,
        replication="database",
        sslmode="disable",
        gssencmode="disable",
        connect_timeout=5,
        autocommit=True,
    )
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
SELECT pg_is_in_recovery(), (pg_last_wal_replay_lsn() - '0/0')::bigint,
       (SELECT string_agg(epoch::text, ',') FROM leeward.epoch)
"""


async def _row(connection: psycopg.AsyncConnection[Any], command: str) -> Any:
    # Replication commands exist only in the simple protocol, which psycopg uses without parameters.
    cursor = await connection.execute(command.encode())
    row = await cursor.fetchone()
    if row is None:
        raise psycopg.DataError(f"no answer to {command.split()[0]}")
    return row
