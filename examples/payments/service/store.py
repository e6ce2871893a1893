"""Payments in PostgreSQL, and honesty about what became of a write.

A write ends in one of three ways. It returns: it is committed, and kept as the database promises. It
raises FailedError: certainly nothing was committed. It raises UnknownError: only a retry with the same
key can tell. Reads raise FailedError too.

Why a replay writes: a row may be visible whose commit was never acknowledged by a standby (a cancelled
wait). Answering from such a row would promise what a failover can take away. A replay therefore commits
a change of its own; once that is acknowledged, so is everything before it.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import psycopg
from pool import Connection, Cursor, Pool, Query, Row, UnavailableError, execute, first_line
from psycopg import errors, sql

STATEMENT_TIMEOUT_S = 1.2
COMMIT_TIMEOUT_S = 1.5
SCHEMA_LOCK = 7_270_651
LIST_LIMIT = 1000

TABLES: tuple[LiteralString, ...] = (
    """create table if not exists payments (
        key text primary key,
        id uuid not null unique,
        amount_cents bigint not null check (amount_cents > 0),
        currency text not null,
        account text not null,
        region text not null,
        created_at timestamptz not null default clock_timestamp(),
        replays integer not null default 0
    )""",
    "create table if not exists health_checks (region text primary key, checked_at timestamptz not null)",
)
TEST_WRITE = (
    "insert into health_checks values (%s, clock_timestamp()) "
    "on conflict (region) do update set checked_at = excluded.checked_at"
)
COLUMNS = sql.SQL("id, key, amount_cents, currency, account, region, created_at")
INSERT = sql.SQL(
    "insert into payments (key, id, amount_cents, currency, account, region) values (%s, %s, %s, %s, %s, %s) "
    "on conflict (key) do update set replays = payments.replays + 1 returning {}, replays"
).format(COLUMNS)
BY_ID = sql.SQL("select {} from payments where id = %s").format(COLUMNS)
BY_KEY = sql.SQL("select {} from payments where key = %s").format(COLUMNS)
BY_PREFIX = sql.SQL("select {} from payments where starts_with(key, %s) and key > %s order by key limit %s").format(
    COLUMNS
)


class FailedError(Exception):
    """Certainly not committed; trying again is safe."""


class UnknownError(Exception):
    """Perhaps committed; try again with the same key to find out."""


class ConflictError(Exception):
    """The key belongs to a payment with another body."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a customer asks for."""

    amount_cents: int
    currency: str
    account: str


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as it is stored."""

    id: uuid.UUID
    key: str
    amount_cents: int
    currency: str
    account: str
    region: str
    created_at: datetime

    def document(self) -> dict[str, object]:
        """Return the answer, the same for every repetition."""
        return {
            "id": str(self.id),
            "key": self.key,
            "amount_cents": self.amount_cents,
            "currency": self.currency,
            "account": self.account,
            "region": self.region,
            "created_at": self.created_at.isoformat(),
        }


class Store:
    """Writes go to the primary; reads to this region's replica, and to the primary where that cannot answer."""

    def __init__(self, primary: Pool, local: Pool, region: str) -> None:
        self._primary = primary
        self._local = local
        self._region = region
        self.schema_missing = asyncio.Event()
        self.schema_missing.set()

    async def pay(self, key: str, order: Order) -> tuple[Payment, bool]:
        """Return the key's payment, and whether this call made it.

        Raises ConflictError, FailedError, UnknownError.
        """
        async with self._transaction() as connection:
            values = (key, uuid.uuid4(), order.amount_cents, order.currency, order.account, self._region)
            *columns, replays = await _one(connection, INSERT, values)
            payment = Payment(*columns)
            if Order(payment.amount_cents, payment.currency, payment.account) != order:
                raise ConflictError(f"key {key} was used for another payment")
        return payment, replays == 0

    async def by_id(self, payment_id: uuid.UUID) -> Payment | None:
        """Return the payment, None when there is none. Raises FailedError when that cannot be known."""
        return await self._find(BY_ID, payment_id)

    async def by_key(self, key: str) -> Payment | None:
        """Return the payment of a key, as ``by_id``."""
        return await self._find(BY_KEY, key)

    async def by_prefix(self, prefix: str, after: str) -> list[Payment]:
        """Return the next LIST_LIMIT payments whose keys start so, as the primary knows them."""
        return [Payment(*row) for row in await self._rows(self._primary, BY_PREFIX, prefix, after, LIST_LIMIT)]

    async def ready(self) -> None:
        """Return when either database answers. Raises FailedError."""
        probe = sql.SQL("select 1")
        try:
            await self._rows(self._local, probe)
        except FailedError as at_home:
            try:
                await self._rows(self._primary, probe)
            except FailedError as elsewhere:
                raise FailedError(f"local database: {at_home}; primary: {elsewhere}") from elsewhere

    async def test_write(self) -> None:
        """Write to the primary in a table of its own. Raises FailedError, UnknownError."""
        async with self._transaction() as connection:
            await _run(connection, TEST_WRITE, (self._region,))

    async def create_schema(self) -> None:
        """Create what is missing; any number of pods may try at once. Raises FailedError, UnknownError."""
        async with self._transaction() as connection:
            await _run(connection, "select pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
            for table in TABLES:
                await _run(connection, table)
        self.schema_missing.clear()

    async def _find(self, query: Query, value: object) -> Payment | None:
        try:
            rows = await self._rows(self._local, query, value)
        except FailedError:
            rows = []
        if not rows:
            # The replica is down, or has not heard of it yet: only the primary knows that it does not exist.
            rows = await self._rows(self._primary, query, value)
        return Payment(*rows[0]) if rows else None

    async def _rows(self, pool: Pool, query: Query, *values: object) -> list[Row]:
        with self._failures():
            async with pool.connection() as connection:
                return await (await _run(connection, query, values)).fetchall()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        """Commit what the block did on the primary; any error before that is a failure, and certain."""
        with self._failures():
            async with self._primary.connection() as connection:
                try:
                    await _run(connection, "begin")
                    yield connection
                except ConflictError:
                    await _run(connection, "rollback")
                    raise
                except errors.ReadOnlySqlTransaction as error:
                    # The route leads to a standby: whoever was primary is not any more.
                    await self._primary.drop()
                    raise FailedError("the primary is read-only: it is changing") from error
                await _commit(connection)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn what may go wrong, except in a COMMIT, into FailedError."""
        try:
            yield
        except errors.UndefinedTable as error:
            self.schema_missing.set()
            raise FailedError("the schema is not there yet") from error
        except (UnavailableError, TimeoutError, psycopg.Error) as error:
            raise FailedError(first_line(error)) from error


async def _run(connection: Connection, query: Query, values: tuple[object, ...] = ()) -> Cursor:
    return await execute(connection, query, values, timeout_s=STATEMENT_TIMEOUT_S)


async def _one(connection: Connection, query: Query, values: tuple[object, ...]) -> Row:
    row = await (await _run(connection, query, values)).fetchone()
    assert row is not None
    return row


async def _commit(connection: Connection) -> None:
    """Commit, or raise UnknownError. From here on nothing is certain until the server says so."""
    warnings: list[str] = []

    def notice(diagnostic: errors.Diagnostic) -> None:
        # The only warnings of a COMMIT are that it was not what it should have been: above all that
        # the wait for synchronous replication was cancelled. Its text depends on the language.
        if diagnostic.severity_nonlocalized == "WARNING":
            warnings.append(diagnostic.message_primary or "warning")

    connection.add_notice_handler(notice)
    try:
        cursor = await execute(connection, "commit", timeout_s=COMMIT_TIMEOUT_S)
    except (TimeoutError, psycopg.Error) as error:
        await connection.close()
        raise UnknownError(f"COMMIT: {first_line(error)}") from error
    finally:
        connection.remove_notice_handler(notice)
    if warnings:
        raise UnknownError(f"COMMIT: {warnings[0]}")
    if cursor.statusmessage != "COMMIT":
        raise FailedError(f"the server answered {cursor.statusmessage} to COMMIT")
