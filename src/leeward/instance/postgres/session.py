"""The manager's own connection to its PostgreSQL: one persistent session on the unix socket, in our own database."""

import asyncio
from collections.abc import Iterable
from typing import LiteralString

import psycopg
from psycopg.rows import TupleRow

from leeward.core.values import Region, Sender
from leeward.instance.machine.values import Observation, Slot
from leeward.instance.postgres.configuration import MANAGER, READER, REPLICATOR, SUPERUSER
from leeward.instance.postgres.connection import as_manager, as_owner
from leeward.instance.postgres.timeline import ReplayedTimeline
from leeward.instance.settings import ManagerSettings

QUERY_TIMEOUT_S = 1.0

# Asked for before the rest: the epoch comes from a snapshot, and it and the timeline must not be older than the
# positions. A position beyond a fork, on the timeline before it, would claim what is not there.
_POSITIONS: LiteralString = """
SELECT pg_catalog.pg_is_in_recovery(),
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL
            ELSE (pg_catalog.pg_current_wal_flush_lsn() - '0/0')::bigint END,
       (pg_catalog.pg_last_wal_receive_lsn() - '0/0')::bigint,
       (pg_catalog.pg_last_wal_replay_lsn() - '0/0')::bigint
"""
# Cheap enough for five a second.
_OBSERVE: LiteralString = """
SELECT (SELECT pg_catalog.max(epoch) FROM leeward.epoch),
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL
            ELSE pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_flush_lsn()) END,
       pg_catalog.current_setting('synchronous_standby_names'),
       pg_catalog.current_setting('primary_conninfo'),
       (SELECT pg_catalog.json_agg(pid) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'walreceiver'),
       (SELECT pg_catalog.json_build_array(sender_host, sender_port)
          FROM pg_catalog.pg_stat_wal_receiver WHERE status = 'streaming'),
       (SELECT pg_catalog.json_build_array(wait_event_type, wait_event)
          FROM pg_catalog.pg_stat_activity WHERE backend_type = 'startup'),
       (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(slot_name, wal_status, active,
                                                               restart_lsn IS NOT NULL))
          FROM pg_catalog.pg_replication_slots WHERE slot_type = 'physical'),
       (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(application_name, state, (flush_lsn - '0/0')::bigint,
                                         (replay_lsn - '0/0')::bigint, sync_state) ORDER BY application_name)
          FROM pg_catalog.pg_stat_replication WHERE flush_lsn IS NOT NULL)
"""
# What the startup process waits for when it has replayed everything there is.
_REPLAYED_ALL = ("RecoveryWalStream", "RecoveryRetrieveRetryInterval")
# What it waits for when a session that reads is in the way of the next record: its lock, its pin or its snapshot.
_CONFLICT_TYPES = ("Lock", "BufferPin")
_CONFLICTS = ("RecoveryConflictSnapshot", "RecoveryConflictTablespace")


def standbys(sessions: Iterable[Sender]) -> tuple[Sender, ...]:
    """Return one sender per region: its session that streams and is the furthest.

    While a standby session takes over, and while a broken connection is not noticed yet, a region has two sessions.
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
        self._timeline = ReplayedTimeline(settings)

    async def connect(self) -> psycopg.AsyncConnection[TupleRow]:
        """Return a new connection of the manager's role, owned by the caller. Raises psycopg.Error."""
        return await as_manager(self._settings)

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
                        self._connection = await self.connect()
                    cursor = await self._connection.execute(text, parameters)
                    return await cursor.fetchall() if cursor.description else []
            except BaseException:
                # Whatever happened, also a cancellation: the session's state is unknown.
                await self._drop()
                raise

    async def observe(self) -> Observation:
        """Ask for everything the status needs. Raises psycopg.Error, TimeoutError."""
        recovery, flushed, received, replayed = (await self.query(_POSITIONS))[0]
        epoch, segment, names, upstream, receivers, source, wait, slots, senders = (await self.query(_OBSERVE))[0]
        if segment is None:
            timeline = await self._timeline.ask()
        else:
            timeline = int(segment[:8], 16)
            await self._timeline.close()  # what replicas stream over is for them
        event_type, event = wait or (None, None)
        return Observation(
            in_recovery=recovery,
            flushed_lsn=flushed,
            received_lsn=received,
            replayed_lsn=replayed,
            epoch=epoch or 0,
            timeline=timeline,
            synchronous_names=names,
            upstream_conninfo=upstream,
            receivers=tuple(receivers or ()),
            streaming_from=None if source is None else (source[0], source[1]),
            replay_idle=event in _REPLAYED_ALL,
            replay_blocked=event_type in _CONFLICT_TYPES or event in _CONFLICTS,
            slots=tuple(Slot(name, status == "lost", active, keeps) for name, status, active, keeps in slots or ()),
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

    async def owner_is_rejected(self) -> bool:
        """Whether PostgreSQL refuses the application's role by its rules, before it asks for a password."""
        try:
            connection = await as_owner(self._settings)
        except psycopg.OperationalError as error:
            return "pg_hba.conf rejects" in str(error)
        await connection.close()
        return False

    async def own_processes(self) -> frozenset[int]:
        """Return PostgreSQL's own processes and our sessions, by its own process ids. Raises psycopg.Error."""
        rows = await self.query(
            "SELECT pid FROM pg_catalog.pg_stat_activity WHERE backend_type <> 'client backend' OR usename = ANY(%s)",
            ([MANAGER, READER, REPLICATOR, SUPERUSER],),
        )
        return frozenset(pid for (pid,) in rows)

    async def close(self) -> None:
        """Disconnect."""
        async with self._busy:
            await self._drop()
        await self._timeline.close()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
