"""The manager's own connection to its PostgreSQL: one persistent superuser session on the unix socket."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg.rows import TupleRow

from leeward.adapters.postgres.configuration import SUPERUSER
from leeward.adapters.postgres.settings import ManagerSettings
from leeward.core.values import Region, Sender

QUERY_TIMEOUT_S = 1.0

# One round trip, cheap enough for five a second.
_OBSERVE: LiteralString = """
SELECT pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery() THEN NULL ELSE (pg_current_wal_flush_lsn() - '0/0')::bigint END,
       (pg_last_wal_receive_lsn() - '0/0')::bigint,
       (pg_last_wal_replay_lsn() - '0/0')::bigint,
       (SELECT max(epoch) FROM leeward.epoch),
       current_setting('synchronous_standby_names'),
       current_setting('primary_conninfo'),
       (SELECT json_agg(pid) FROM pg_stat_activity WHERE backend_type = 'walreceiver'),
       (SELECT json_build_array(sender_host, sender_port)
          FROM pg_stat_wal_receiver WHERE status = 'streaming'),
       (SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup'),
       (SELECT json_agg(json_build_array(slot_name, wal_status, active))
          FROM pg_replication_slots WHERE slot_type = 'physical'),
       (SELECT json_agg(json_build_array(application_name, state, (flush_lsn - '0/0')::bigint,
                                         (replay_lsn - '0/0')::bigint, sync_state) ORDER BY application_name)
          FROM pg_stat_replication WHERE flush_lsn IS NOT NULL)
"""
# What the startup process waits for when it has replayed everything there is.
_REPLAYED_ALL = ("RecoveryWalStream", "RecoveryRetrieveRetryInterval")


@dataclass(frozen=True, slots=True)
class Slot:
    """A physical replication slot."""

    name: str
    lost: bool
    active: bool


@dataclass(frozen=True, slots=True)
class Observation:
    """What PostgreSQL said of itself in one query. LSNs as integers."""

    in_recovery: bool
    flushed_lsn: int | None
    received_lsn: int | None
    replayed_lsn: int | None
    epoch: int
    synchronous_names: str
    upstream_conninfo: str
    receivers: tuple[int, ...]
    """WAL receiver processes, connected or about to."""
    streaming_from: tuple[str, int] | None
    replay_idle: bool
    """The startup process waits for more WAL."""
    slots: tuple[Slot, ...]
    senders: tuple[Sender, ...]

    @property
    def end_lsn(self) -> int:
        """How much history is held: flushed on a primary, received or replayed on a standby."""
        if not self.in_recovery:
            return self.flushed_lsn or 0
        return max(self.received_lsn or 0, self.replayed_lsn or 0)


def standbys(sessions: Iterable[Sender]) -> tuple[Sender, ...]:
    """Return one sender per region: its session that streams and is the furthest.

    While an understudy takes over, and while a broken connection is not noticed yet, a region has two sessions.
    """
    found: dict[Region, Sender] = {}
    for each in sorted(sessions, key=lambda one: (one.streaming, one.synchronous, one.flushed_lsn)):
        found[each.region] = each
    return tuple(found[region] for region in sorted(found))


class Session:
    """Connects when needed; any failure closes it, and the next call connects again."""

    def __init__(self, settings: ManagerSettings) -> None:
        self._settings = settings
        self._connection: psycopg.AsyncConnection[TupleRow] | None = None
        self._busy = asyncio.Lock()

    async def connect(self, database: str) -> psycopg.AsyncConnection[TupleRow]:
        """Return a new superuser connection, owned by the caller. Raises psycopg.Error."""
        return await psycopg.AsyncConnection.connect(
            host=str(self._settings.layout.socket),
            port=self._settings.postgres.port,
            user=SUPERUSER,
            dbname=database,
            application_name="instance-manager",
            connect_timeout=2,
            autocommit=True,
        )

    async def query(
        self,
        text: LiteralString,
        parameters: tuple[object, ...] | None = None,
        *,
        timeout_s: float = QUERY_TIMEOUT_S,
    ) -> list[TupleRow]:
        """Run one statement and return its rows. Raises psycopg.Error, TimeoutError."""
        async with self._busy:
            try:
                async with asyncio.timeout(timeout_s):
                    if self._connection is None:
                        self._connection = await self.connect(self._settings.database)
                    cursor = await self._connection.execute(text, parameters)
                    return await cursor.fetchall() if cursor.description else []
            except BaseException:
                # Whatever happened, also a cancellation: the session's state is unknown.
                await self._drop()
                raise

    async def observe(self) -> Observation:
        """Ask for everything the status needs. Raises psycopg.Error, TimeoutError."""
        row = (await self.query(_OBSERVE))[0]
        recovery, flushed, received, replayed, epoch, names, upstream, receivers, source, wait, slots, senders = row
        return Observation(
            in_recovery=recovery,
            flushed_lsn=flushed,
            received_lsn=received,
            replayed_lsn=replayed,
            epoch=epoch or 0,
            synchronous_names=names,
            upstream_conninfo=upstream,
            receivers=tuple(receivers or ()),
            streaming_from=None if source is None else (source[0], source[1]),
            replay_idle=wait in _REPLAYED_ALL,
            slots=tuple(Slot(name, status == "lost", active) for name, status, active in slots or ()),
            senders=standbys(
                Sender(
                    region=Region(name),
                    streaming=state == "streaming",
                    flushed_lsn=flush,
                    replayed_lsn=replay or 0,
                    synchronous=synchronous in ("sync", "quorum"),
                )
                for name, state, flush, replay, synchronous in senders or ()
                if name in self._settings.upstreams
            ),
        )

    async def close(self) -> None:
        """Disconnect."""
        async with self._busy:
            await self._drop()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
