"""Orphaned writes as a deposed primary keeps them, value for value, on real PostgreSQL."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

import leeward
from leeward.core.values import InstanceStatus, RejoinMethod, Role
from leeward.instance.settings import Layout, find_binaries
from leeward.kit.kernel import namespaces_work
from tests.instance.conftest import StartFleet
from tests.instance.instances import DATABASE, OWNER, PASSWORD, Node
from tests.instance.test_lined_up import ask
from tests.instance.test_replication import A, B, first_pair
from tests.kit.waiting import until

pytestmark = pytest.mark.engine

Values = dict[str, str | None]

EVERY_CHARACTER = "".join(chr(code) for code in (*range(1, 0xD800), *range(0xE000, 0x110000)))
LONG_NAME = "n" * 63

TYPES = """
CREATE TYPE mood AS ENUM ('fine', 'it''s "so", so');
CREATE DOMAIN cents AS numeric(40, 10) CHECK (VALUE > -1);
CREATE TYPE pair AS (a numeric, "B c" text, d cents);
CREATE FUNCTION hostile(pair) RETURNS text LANGUAGE sql AS 'SELECT ''converted''';
CREATE CAST (pair AS text) WITH FUNCTION hostile(pair);
CREATE TABLE v (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gone int, amount numeric, fixed numeric(44, 30), big bigint,
    doc json, docb jsonb, f4 float4, f8 float8, raw bytea, list numeric[], born timestamptz, local timestamp, day date,
    span interval, over numrange, overs int4multirange, comp pair, comps pair[], feeling mood, d cents, padded char(5),
    ip inet, yes bool, bits bit(3), u uuid, price money, words tsvector, place point, letter "char", path xid8,
    "dbl" numeric GENERATED ALWAYS AS (amount * 2) STORED, virt numeric GENERATED ALWAYS AS (amount / 0) VIRTUAL,
    "from" text, "a""b" text, "UPPER" text, t text, v text, NAME text, "ünï\\c,ode" text
);
ALTER TABLE v DROP COLUMN gone;
"""

DIGITS = "12345678901234567890123456789012345678.1234567890100"
# What was written → what COPY prints: the same digits, whatever the session that wrote it preferred.
WRITTEN = {
    "amount": (
        "12345678901234567890123456789012345678.1234567890100",
        "12345678901234567890123456789012345678.1234567890100",
    ),
    "fixed": ("1.5", "1.500000000000000000000000000000"),
    "big": ("9223372036854775807", "9223372036854775807"),
    "doc": ('{"b": 1.10,  "a": 2, "a": 1e400}', '{"b": 1.10,  "a": 2, "a": 1e400}'),
    "docb": ('{"n": 0.1000000000000000055511151231257827}', '{"n": 0.1000000000000000055511151231257827}'),
    "f4": ("1.17549435e-38", "1.1754944e-38"),
    "f8": ("1.7976931348623157e308", "1.7976931348623157e+308"),
    "raw": ("\\x00deadbeef5c", "\\x00deadbeef5c"),
    "list": ("{1.10,NULL,NaN,-Infinity}", "{1.10,NULL,NaN,-Infinity}"),
    "born": ("infinity", "infinity"),
    "local": ("4713-01-01 00:00:00.000001 BC", "4713-01-01 00:00:00.000001 BC"),
    "day": ("5874897-12-31", "5874897-12-31"),
    "span": ("-1 mons +3 days -04:05:06.789", "-1 mons +3 days -04:05:06.789"),
    "over": ("[1.10,)", "[1.10,)"),
    "overs": ("{[1,3),[5,9)}", "{[1,3),[5,9)}"),
    "comp": ('(1.10,"a ""quoted"", \\\\ text",0.50)', '(1.10,"a ""quoted"", \\\\ text",0.5000000000)'),
    "comps": ('{"(1.10,,)",NULL}', '{"(1.10,,)",NULL}'),
    "feeling": ('it\'s "so", so', 'it\'s "so", so'),
    "d": ("0.00000001", "0.0000000100"),
    "padded": ("ab", "ab   "),
    "ip": ("192.168.1.1", "192.168.1.1"),
    "yes": ("true", "t"),
    "bits": ("101", "101"),
    "u": ("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "price": ("1234567.89", "$1,234,567.89"),
    "words": ("'a':1A 'b''c'", "'a':1A 'b''c'"),
    "place": ("(1e-300,2)", "(1e-300,2)"),
    "letter": ("x", "x"),
    "path": ("18446744073709551615", "18446744073709551615"),
    "from": ("reserved", "reserved"),
    'a"b': ("\\N", "\\N"),
    "UPPER": ("", ""),
    "t": ("a column called as an alias", "a column called as an alias"),
    "v": ("a column called as its table", "a column called as its table"),
    "name": ("null", "null"),
    "ünï\\c,ode": ("a\tb\nc\rd\\.\be\x01f\x7f\u2028\U0001f600", "a\tb\nc\rd\\.\be\x01f\x7f\u2028\U0001f600"),
}


async def cut(a: Node, b: Node) -> None:
    """Cut ``b``, which holds all that ``a`` has written so far: what comes is orphaned."""
    # Also what a transaction that is under way has written.
    await ask(a, "SELECT pg_logical_emit_message(false, 'test', 'flush', true)")
    ((written_lsn,),) = await ask(a, "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint")
    await b.until(lambda status: (status.replayed_lsn or 0) >= int(str(written_lsn)))
    await b.settle(2, Role.DETACHED)


@asynccontextmanager
async def forked(a: Node, b: Node, *before: str) -> AsyncIterator[None]:
    """What the block does on ``a``, after ``before``, becomes orphaned; at its end ``a`` crashes."""
    async with a.leased(1):
        await first_pair(a, b)
        for text in before:
            await a.execute(text)
        await cut(a, b)
        yield
        a.kill()


async def rejoined(a: Node, b: Node, timeout_s: float = 60.0) -> InstanceStatus:
    await a.start()
    status = await a.settle(2, Role.STANDBY, b, timeout_s=timeout_s)
    assert status.rejoined is not None
    return status


def lines(a: Node) -> list[dict[str, Any]]:
    path = a.root / "volume" / "orphans" / "epoch-1.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def rows(a: Node, table: str) -> list[Values]:
    return [line["row"] for line in lines(a) if line["table"] == table and "row" in line]


def described(a: Node, table: str) -> dict[str, Any]:
    (line,) = [line for line in lines(a) if line["table"] == table and "columns" in line]
    return dict(line)


async def psql(node: Node, *commands: str) -> str:
    """Run psql as the application's operator does."""
    words = [word for command in commands for word in ("-c", command)]
    address = ["-h", "127.0.0.1", "-p", str(node.port), "-U", OWNER, "-d", DATABASE]
    done = await asyncio.to_thread(
        subprocess.run,
        [str(find_binaries() / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *address, *words],
        env={**os.environ, "PGPASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def write_every_type(a: Node) -> None:
    async with await a.connect() as connection:
        names = ", ".join('"' + name.replace('"', '""') + '"' for name in WRITTEN)
        values = [written for written, _ in WRITTEN.values()]
        places = ", ".join(["%s"] * len(values))
        # As text, whatever a driver would make of it: the column's type reads it.
        await connection.execute(f"INSERT INTO v ({names}) VALUES ({places})".encode(), values)
        await connection.execute(
            "INSERT INTO v (amount, f4, f8, born, day, doc, span)"
            " VALUES ('NaN', '-Infinity', '-0', '-infinity', '-infinity', 'null', 'infinity')"
        )
        await connection.execute("INSERT INTO v DEFAULT VALUES")


async def test_every_value_is_kept_as_postgres_prints_it_and_psql_brings_it_back(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    async with forked(a, b, TYPES):
        for setting in ("bytea_output = 'escape'", "extra_float_digits = -15", "DateStyle = 'SQL'"):
            await a.execute(f"ALTER DATABASE {DATABASE} SET {setting}")
        await write_every_type(a)
        before = await psql(a, "SELECT md5(string_agg(v::text, '|' ORDER BY id)) FROM v")
    async with b.leased(2):
        await b.settle(2, Role.PRIMARY)
        status = await rejoined(a, b)
        (orphans,) = status.orphans
        assert (orphans.transactions, orphans.rows, orphans.unread) == (3, 3, ())
        full, odd, empty = rows(a, "public.v")
        assert full == {"id": "1", "dbl": "24691357802469135780246913578024691356.2469135780200"} | {
            name: printed for name, (_, printed) in WRITTEN.items()
        }
        assert (odd["amount"], odd["f4"], odd["f8"]) == ("NaN", "-Infinity", "-0")
        assert (odd["born"], odd["day"], odd["doc"], odd["span"]) == ("-infinity", "-infinity", "null", "infinity")
        assert {name for name, value in empty.items() if value is not None} == {"id"}
        table = described(a, "public.v")
        assert (table["columns"]["fixed"], table["columns"]["comps"]) == ("numeric(44,30)", "public.pair[]")
        assert (table["generated"], table["partition_of"], table["database"]) == (["dbl"], None, DATABASE)
        # As docs/concepts/orphans.md tells.
        columns = [name for name in full if name != "dbl"]
        listed = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
        taken = ", ".join(f"(line->'row'->>'{name}')::{table['columns'][name]}" for name in columns)
        await psql(
            b,
            "CREATE TEMP TABLE orphan (line json)",
            f"\\copy orphan FROM '{orphans.path}' WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')",
            f"INSERT INTO v ({listed}) OVERRIDING SYSTEM VALUE SELECT {taken} FROM orphan"
            " WHERE line->>'table' = 'public.v' AND line->'row' IS NOT NULL",
        )
        assert await psql(b, "SELECT md5(string_agg(v::text, '|' ORDER BY id)) FROM v") == before


TABLES = f"""
CREATE TABLE t (t text, n int);
CREATE TABLE top (k int, v text) PARTITION BY RANGE (k);
CREATE TABLE middle PARTITION OF top FOR VALUES FROM (0) TO (100) PARTITION BY LIST (v);
CREATE TABLE leaf PARTITION OF middle FOR VALUES IN ('x', 'y');
CREATE TABLE person (name text);
CREATE TABLE employee (pay numeric) INHERITS (person);
CREATE VIEW people AS SELECT name FROM person;
CREATE RULE hire AS ON INSERT TO people DO INSTEAD INSERT INTO person VALUES (NEW.name);
CREATE SCHEMA "Other";
CREATE TABLE "Other"."Tab.le" ("Col" text);
CREATE TABLE {LONG_NAME} ({LONG_NAME} int);
CREATE TABLE secret (v text);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY hidden ON secret USING (false) WITH CHECK (true);
CREATE TABLE wide (v text);
CREATE TABLE nothing ();
CREATE UNLOGGED TABLE unlogged (n int);
CREATE TABLE packed (n int PRIMARY KEY);
CREATE TABLE clustered (n int PRIMARY KEY);
CREATE TABLE retyped (n int);
CREATE TABLE truncated (n int);
CREATE TABLE dropped (n int);
CREATE TABLE changed (n int, v text);
CREATE TABLE "select" ("from" int, "where" int);
INSERT INTO packed VALUES (1); INSERT INTO clustered VALUES (1); INSERT INTO retyped VALUES (1);
INSERT INTO truncated VALUES (1); INSERT INTO changed VALUES (1, 'old'), (2, 'old'), (3, 'old');
VACUUM FULL packed;
"""

ORPHANED = f"""
INSERT INTO t VALUES ('text', 1);
INSERT INTO top VALUES (1, 'x');
INSERT INTO employee VALUES ('Ann', 1.10);
INSERT INTO people VALUES ('Bob');
INSERT INTO "Other"."Tab.le" VALUES ('case');
INSERT INTO {LONG_NAME} VALUES (1);
INSERT INTO secret VALUES ('hidden');
INSERT INTO nothing DEFAULT VALUES;
INSERT INTO unlogged VALUES (1);
INSERT INTO packed VALUES (2);
VACUUM FULL packed;
INSERT INTO clustered VALUES (2);
CLUSTER clustered USING clustered_pkey;
INSERT INTO retyped VALUES (2);
ALTER TABLE retyped ALTER COLUMN n TYPE text USING 'n' || n;
INSERT INTO truncated VALUES (2);
TRUNCATE truncated;
INSERT INTO truncated VALUES (3);
INSERT INTO dropped VALUES (1);
DROP TABLE dropped;
CREATE TABLE made (n int);
INSERT INTO made VALUES (1);
UPDATE changed SET v = 'new' WHERE n = 1;
DELETE FROM changed WHERE n = 2;
INSERT INTO changed VALUES (4, 'gone'), (5, 'stays'); DELETE FROM changed WHERE n = 4;
BEGIN; INSERT INTO changed VALUES (6, 'a'); SAVEPOINT s; INSERT INTO changed VALUES (7, 'b'); RELEASE s;
SAVEPOINT s; INSERT INTO changed VALUES (8, 'c'); ROLLBACK TO s; COMMIT;
BEGIN; INSERT INTO changed VALUES (9, 'd'); ROLLBACK;
INSERT INTO "select" VALUES (1, 2);
SELECT lo_from_bytea(4711, '\\xdeadbeef');
CREATE MATERIALIZED VIEW derived AS SELECT * FROM changed;
"""

KEPT: dict[str, list[Values]] = {
    "public.t": [{"t": "text", "n": "1"}],
    "public.leaf": [{"k": "1", "v": "x"}],
    "public.employee": [{"name": "Ann", "pay": "1.10"}],
    "public.person": [{"name": "Bob"}],
    '"Other"."Tab.le"': [{"Col": "case"}],
    f"public.{LONG_NAME}": [{LONG_NAME: "1"}],
    "public.secret": [{"v": "hidden"}],
    "public.wide": [{"v": EVERY_CHARACTER}],
    "public.nothing": [{}],
    "public.packed": [{"n": "2"}],
    "public.clustered": [{"n": "2"}],
    # Which of them were there before the rewrite, nothing tells any more.
    "public.retyped": [{"n": "n1"}, {"n": "n2"}],
    "public.truncated": [{"n": "3"}],
    "public.made": [{"n": "1"}],
    "public.changed": [{"n": "1", "v": "new"}, {"n": "5", "v": "stays"}, {"n": "6", "v": "a"}, {"n": "7", "v": "b"}],
    'public."select"': [{"from": "1", "where": "2"}],
    "pg_catalog.pg_largeobject": [{"loid": "4711", "pageno": "0", "data": "\\xdeadbeef"}],
    "public.elsewhere": [{"n": "1.10"}],
}


async def in_second_database(a: Node, *texts: str) -> None:
    connection = await psycopg.AsyncConnection.connect(
        host=str(Layout(a.root / "volume").socket), port=a.port, user="postgres", dbname="second", autocommit=True
    )
    async with connection:
        for text in texts:
            await connection.execute(text.encode())


def statements(text: str) -> list[str]:
    return [line.strip() for line in text.replace(";", ";\n").splitlines() if line.strip()]


async def test_rows_are_kept_whatever_their_table_is_and_became(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b)
        await ask(a, "CREATE DATABASE second")
        await in_second_database(a, "CREATE TABLE elsewhere (n numeric)")
        for text in statements(TABLES):
            await a.execute(text)
        await cut(a, b)
        async with await a.connect() as connection:
            for text in statements(ORPHANED):
                await connection.execute(text.encode())
            await connection.execute("INSERT INTO wide VALUES (%s)", (EVERY_CHARACTER,))
        await in_second_database(a, "INSERT INTO elsewhere VALUES (1.10)")
        a.kill()
    async with b.leased(2):
        await b.settle(2, Role.PRIMARY)
        (orphans,) = (await rejoined(a, b)).orphans
    assert orphans.unread == ()
    found: dict[str, list[Values]] = {}
    for line in lines(a):
        if "row" in line and line["table"] != "pg_catalog.pg_largeobject_metadata":
            found.setdefault(line["table"], []).append(line["row"])
    assert found == KEPT
    # One was written after a savepoint: they were committed together.
    together = {line["xid"] for line in lines(a) if line.get("row", {}).get("n") in ("6", "7")}
    assert len(together) == 1
    assert described(a, "public.leaf")["partition_of"] == "public.top"
    assert described(a, "public.elsewhere")["database"] == "second"
    assert [described(a, f"public.{name}")["new_file"] for name in ("retyped", "packed", "made", "t")] == [True] * 3 + [
        False
    ]


async def test_a_transaction_that_wrote_on_both_sides_of_the_fork(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b)
        await a.execute("CREATE TABLE early (n int)")
        await a.execute("CREATE TABLE late (n int)")
        async with await a.connect() as connection, connection.transaction():
            await connection.execute("INSERT INTO early VALUES (1)")
            await cut(a, b)
            await connection.execute("INSERT INTO late VALUES (2)")
        # A commit that comes last flushes the other's.
        await a.execute("INSERT INTO late VALUES (3)")
        a.kill()
    async with b.leased(2):
        await b.settle(2, Role.PRIMARY)
        (orphans,) = (await rejoined(a, b)).orphans
    assert (orphans.transactions, orphans.rows, orphans.unread) == (2, 3, ())
    assert rows(a, "public.early") == [{"n": "1"}]
    assert rows(a, "public.late") == [{"n": "2"}, {"n": "3"}]


@contextmanager
def started(data: Path, socket: Path, port: int) -> Iterator[None]:
    """Run PostgreSQL on a data directory that was put aside, as docs/concepts/orphans.md describes."""
    (data / "standby.signal").unlink()
    mode = "namespace" if namespaces_work() else "plain"
    command = [sys.executable, "-S", "-m", "leeward.instance.postgres.init", str(os.getpid()), mode, "0"]
    command += [str(find_binaries() / "postgres"), "-D", str(data), "-p", str(port), "-k", str(socket)]
    source = str(Path(leeward.__file__).parent.parent)
    environment = {**os.environ, "LC_ALL": "C", "PYTHONPATH": source}
    process = subprocess.Popen([*command, "-c", "listen_addresses="], env=environment)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


async def rows_of(socket: Path, port: int, text: str) -> list[tuple[object, ...]]:
    async def rows() -> list[tuple[object, ...]]:
        connection = await psycopg.AsyncConnection.connect(
            host=str(socket), port=port, user="postgres", dbname=DATABASE
        )
        async with connection:
            return await (await connection.execute(text.encode())).fetchall()

    return await until(rows, text, accept=lambda _: True, within_s=60, every_s=0.1, not_yet=(psycopg.OperationalError,))


async def test_a_table_locked_at_the_crash_is_named_and_the_rest_is_kept(
    start_fleet: StartFleet, tmp_path: Path
) -> None:
    a, b = await start_fleet(A, B)
    async with a.leased(1):
        await first_pair(a, b)
        for name in ("big", "little", "indexed"):
            await a.execute(f"CREATE TABLE {name} (n int PRIMARY KEY)")
        await cut(a, b)
        for name in ("big", "little", "indexed"):
            await a.execute(f"INSERT INTO {name} VALUES (1)")
        migration, reindexing = await a.connect(), await a.connect()
        await migration.execute("BEGIN")
        await migration.execute("ALTER TABLE big ADD COLUMN extra text DEFAULT 'x'")
        await reindexing.execute("BEGIN")
        await reindexing.execute("REINDEX INDEX indexed_pkey")
        # Its commit also flushes what the others have written.
        await a.execute("INSERT INTO little VALUES (2)")
        a.kill()
        await asyncio.gather(migration.close(), reindexing.close())
    async with b.leased(2):
        await b.settle(2, Role.PRIMARY)
        status = await rejoined(a, b)
        (orphans,) = status.orphans
        assert (orphans.transactions, orphans.rows, orphans.unread_tables) == (4, 2, 2)
        named = {unread.table: unread.because for unread in orphans.unread}
        assert named["public.big"] == "locked by a transaction that was under way at the crash"
        assert "locked" in named["public.indexed"]
        assert [row["n"] for row in rows(a, "public.little")] == ["1", "2"]
        assert {line["table"] for line in lines(a) if "unread" in line} == set(named)
        assert status.rejoined is not None
        assert (status.rejoined.method, status.rejoined.unread) == (RejoinMethod.COPY, 2)
        # What could not be read is still there: the lock ends when a copy of the data leaves recovery.
        with started(Path(orphans.evidence), tmp_path, a.port):
            assert await rows_of(tmp_path, a.port, "SELECT n FROM big ORDER BY n") == [(1,)]
            assert await rows_of(tmp_path, a.port, "SELECT n FROM indexed ORDER BY n") == [(1,)]


async def test_a_segment_that_is_prepared_and_not_written_yet_hides_nothing(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    async with forked(a, b):
        await a.execute("INSERT INTO payment VALUES (100)")
    a.prepare_segments()
    async with b.leased(2):
        await b.settle(2, Role.PRIMARY)
        (orphans,) = (await rejoined(a, b)).orphans
    assert (orphans.transactions, orphans.rows, orphans.unread) == (1, 1, ())


async def test_wal_that_is_gone_is_named_and_the_data_are_kept(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    async with forked(a, b):
        await a.execute("INSERT INTO payment VALUES (100)")
        (segment,) = (await ask(a, "SELECT pg_walfile_name(pg_current_wal_lsn())"))[0]
        # The next checkpoint starts in a later segment, so PostgreSQL starts without this one.
        await ask(a, "SELECT pg_switch_wal()")
        await a.execute("INSERT INTO payment VALUES (101)")
        await ask(a, "CHECKPOINT")
    (a.root / "volume" / "pgdata" / "pg_wal" / str(segment)).unlink()
    async with b.leased(2):
        await b.settle(2, Role.PRIMARY)
        (orphans,) = (await rejoined(a, b)).orphans
    (unread,) = orphans.unread
    assert unread.table == "every table"
    assert f"part of the WAL cannot be read: segment {segment} is gone" in unread.because
    assert (Path(orphans.evidence) / "PG_VERSION").exists()


def peak_memory_kb(node: Node) -> int:
    assert node.process is not None
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{node.process.pid}/status").read_text())
    assert found is not None
    return int(found[1])


def measured(path: str) -> tuple[int, int]:
    """Return the size of a file of orphans, and how many rows are in it."""
    with Path(path).open(encoding="ascii") as file:
        count = sum(1 for line in file if '"row"' in line)
    return Path(path).stat().st_size, count


@pytest.mark.timeout(600)
async def test_many_orphans_are_read_piece_by_piece(start_fleet: StartFleet) -> None:
    a, b = await start_fleet(A, B)
    many = 100_000
    async with forked(a, b, f"CREATE TABLE old AS SELECT n, repeat('x', 200) FROM generate_series(1, {many}) AS n"):
        await a.execute(f"CREATE TABLE new AS SELECT n, repeat('y', 400) AS v FROM generate_series(1, {many}) AS n")
        await a.execute("INSERT INTO old VALUES (0, '')")
    async with b.leased(2):
        await b.settle(2, Role.PRIMARY)
        (orphans,) = (await rejoined(a, b, timeout_s=300)).orphans
        peak_kb = peak_memory_kb(a)
    assert (orphans.transactions, orphans.rows, orphans.unread) == (2, many + 1, ())
    size_bytes, count = measured(orphans.path)
    assert count == many + 1
    assert size_bytes > 45_000_000
    # Some 60 MB of that are the program itself.
    assert peak_kb < 100_000
