"""The files of orphans: their lines, their limit, and the raw data beside them."""

import json
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from leeward.core.values import App, Orphans, Region, Unread
from leeward.instance.machine.lineage import Lineage
from leeward.instance.machine.values import Observation
from leeward.instance.orphans import save
from leeward.instance.orphans.evidence import (
    data_to_keep,
    fits_aside,
    keep_evidence,
    set_data_aside,
    set_wal_aside,
)
from leeward.instance.orphans.retry import is_transient
from leeward.instance.orphans.tables import Catalogue, Column, FullError, Lines, Reader, Table, statement
from leeward.instance.orphans.wal import Changes, Dump
from leeward.instance.postgres.server import CommandError
from leeward.instance.postgres.session import Session
from leeward.instance.settings import Endpoint, Layout, ManagerSettings
from tests.instance.situations import seen

GIGABYTE = 1 << 30
TABLE = Table(
    database="payments",
    schema='a"b',
    name="from",
    text='"a""b"."from"',
    file=(1663, 5, 16390),
    columns=(Column("xid", "bigint", generated=False), Column('"%s"', "text", generated=True)),
    partition_of=None,
    locked=False,
)


OWN = Lineage("s", ((1, 200),), frozenset({1}), in_recovery=True, replayed_lsn=0)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_the_statement_quotes_every_name_and_reads_only_the_named_blocks() -> None:
    whole = statement(TABLE, {7, 5}, None).as_string(None)
    rows = 'SELECT "xmin", "xid", """%s""" FROM ONLY "a""b"."from"'
    assert whole == f"COPY ({rows} WHERE xmin = ANY ('{{5,7}}'::xid[])) TO STDOUT"
    assert "unnest('{0,9}'::int8[])" in statement(TABLE, {5}, {9, 0}).as_string(None)


def test_lines_are_ascii_and_end_at_the_limit(tmp_path: Path) -> None:
    lines = Lines(tmp_path / "rows", 400)
    lines.table(TABLE, new_file=False)
    lines.row(TABLE, 5, {"xid": "1", '"%s"': "é\x01\n"})
    lines.row(TABLE, 5, {"xid": "2" * 200})
    with pytest.raises(FullError):
        lines.row(TABLE, 5, {"xid": "3"})
    lines.unread(TABLE.text, "full")
    lines.close()
    head, row, _, last = (json.loads(line) for line in (tmp_path / "rows").read_bytes().decode("ascii").splitlines())
    assert head["columns"] == {"xid": "bigint", '"%s"': "text"}
    assert (head["generated"], head["table"]) == (['"%s"'], '"a""b"."from"')
    assert (row["xid"], row["row"]) == (5, {"xid": "1", '"%s"': "é\x01\n"})
    assert lines.rows == 2
    assert last == {"table": TABLE.text, "unread": "full"}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    (made.data / "pg_wal").mkdir(parents=True)
    made.orphans.mkdir()
    for name in ("A", "B"):
        (made.data / "pg_wal" / name).write_bytes(b"wal" * 100_000)
    return made


def kept(layout: Layout, evidence: str) -> Orphans:
    return Orphans(epoch=3, transactions=1, rows=1, path="", evidence=evidence)


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        pytest.param(GIGABYTE, "epoch-3.pgdata", id="room for the copy, and as much again"),
        pytest.param(1_000_000, "", id="no room for the WAL either"),
    ],
)
def test_the_raw_data_that_are_kept_fit_the_disk(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, free: int, expected: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free, 0, free))
    evidence = keep_evidence(layout, 3, ("A", "B", "gone"))
    assert evidence == (str(layout.orphans / expected) if expected else "")
    assert data_to_keep(layout, kept(layout, evidence)) == (layout.orphans / expected if expected else None)


def test_without_room_for_the_data_the_wal_is_copied(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    (layout.data / "base").write_bytes(b"rows" * 1_000_000)
    free = 3_000_000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free, 0, free))
    for _ in range(2):
        evidence = keep_evidence(layout, 3, ("A", "B", "gone"))
        assert evidence == str(layout.orphans / "epoch-3.segments")
        assert {path.name for path in Path(evidence).iterdir()} == {"A", "B"}
    assert data_to_keep(layout, kept(layout, evidence)) is None


def test_data_that_were_put_aside_before_stay(layout: Layout) -> None:
    (layout.orphans / "epoch-3.pgdata").mkdir()
    assert keep_evidence(layout, 3, ("A",)) == str(layout.orphans / "epoch-3.segments")


def test_data_that_postgresql_does_not_start_on_are_moved_where_there_is_room(layout: Layout) -> None:
    for number in (1, 2, 3):
        (layout.data / "pg_wal").mkdir(parents=True, exist_ok=True)
        assert fits_aside(layout)
        assert set_data_aside(layout) == str(layout.orphans / f"unusable-{number}.pgdata")
        assert not layout.data.exists()
        if number == 2:  # the operator removes what is not needed any more
            shutil.rmtree(layout.orphans / "unusable-1.pgdata")


def test_without_room_for_such_data_the_wal_is_kept(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    (layout.data / "base").write_bytes(b"rows" * 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(3_000_000, 0, 3_000_000))
    (layout.orphans / "unusable.partial").mkdir()
    assert not fits_aside(layout)
    assert set_wal_aside(layout) == str(layout.orphans / "unusable-1.wal")
    assert {path.name for path in (layout.orphans / "unusable-1.wal").iterdir()} == {"A", "B"}
    assert (layout.data / "base").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1_000_000, 0, 1_000_000))
    with pytest.raises(OSError, match="no room to keep the local data"):
        set_wal_aside(layout)


class Silent(Session):
    """A PostgreSQL that never answers."""

    async def observe(self) -> Observation:
        raise psycopg.OperationalError("no answer")


@pytest.fixture
def settings(layout: Layout, tmp_path: Path) -> ManagerSettings:
    return ManagerSettings(
        region=Region("us"),
        app=App("payments"),
        listen=Endpoint("127.0.0.1", 1),
        postgres=Endpoint("127.0.0.1", 2),
        layout=layout,
        identity_dir=tmp_path,
        upstreams={},
        database="payments",
        owner="payments",
        password_file=tmp_path / "password",
        replication_password_file=tmp_path / "password",
        binaries=tmp_path,
        wal_retention=0.5,
    )


async def test_a_postgres_that_never_answers_does_not_stop_a_rejoin(layout: Layout, settings: ManagerSettings) -> None:
    orphans = await save.save(settings, Silent(settings), OWN, 100, 3, isolated=False, timeout_s=0.1)
    assert orphans is not None
    assert orphans.unread == (Unread("every table", "not read within 0.1 s for all tables"),)
    assert orphans.evidence == str(layout.orphans / "epoch-3.pgdata")
    assert save.saved(layout.orphans) == (orphans,)
    assert {path.name for path in layout.orphans.iterdir()} == {"epoch-3.json", "epoch-3.jsonl", "epoch-3.wal"}


class Idle(Session):
    """A PostgreSQL that has replayed all that it holds."""

    async def observe(self) -> Observation:
        return seen()


class Busy:
    """A busy machine: whatever is asked of PostgreSQL for the first time fails, and the second time it does not."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def asked(self, what: str) -> None:
        if what not in self.failed:
            self.failed.append(what)
            if what == "pg_waldump":
                raise CommandError("pg_waldump: killed")
            raise psycopg.errors.AdminShutdown(what)


async def test_what_fails_once_is_tried_again(
    layout: Layout, settings: ManagerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Busy()

    async def ask(*_: object) -> Lineage:
        busy.asked("lineage")
        return OWN

    async def databases(_: ManagerSettings) -> dict[int, str]:
        busy.asked("databases")
        return {5: "payments"}

    async def read(*_: object) -> Changes:
        busy.asked("pg_waldump")
        return Changes({7: frozenset({7})}, {7: frozenset({TABLE.file})}, {TABLE.file: {0}})

    async def look_back(*_: object) -> bool:
        return True

    async def catalogue(_: Reader) -> Catalogue:
        busy.asked("catalogue")
        return Catalogue((TABLE,), {TABLE.file: True})

    async def rows(*_: object) -> AsyncGenerator[tuple[int, dict[str, str | None]], None]:
        yield 7, {"xid": "1"}
        busy.asked("rows")
        yield 7, {"xid": "2"}

    monkeypatch.setattr(save, "ask", ask)
    monkeypatch.setattr(save, "databases", databases)
    monkeypatch.setattr(Dump, "read", read)
    monkeypatch.setattr(Dump, "look_back", look_back)
    monkeypatch.setattr(Reader, "catalogue", catalogue)
    monkeypatch.setattr(Reader, "rows", rows)
    orphans = await save.save(settings, Idle(settings), OWN, 100, 3, isolated=False)
    assert busy.failed == ["lineage", "pg_waldump", "databases", "catalogue", "rows"]
    assert orphans is not None
    assert (orphans.transactions, orphans.rows, orphans.unread) == (1, 2, ())
    kept = [json.loads(line) for line in (layout.orphans / "epoch-3.jsonl").read_text(encoding="ascii").splitlines()]
    assert [line["row"]["xid"] for line in kept if "row" in line] == ["1", "2"], "each row once"


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        pytest.param(CommandError("pg_waldump: killed"), True, id="a program failed"),
        pytest.param(psycopg.errors.ConnectionTimeout("timeout"), True, id="no answer in time"),
        pytest.param(psycopg.OperationalError("the connection is closed"), True, id="closed"),
        pytest.param(psycopg.OperationalError("FATAL:  the database system is starting up"), True, id="starting"),
        pytest.param(psycopg.OperationalError("FATAL:  sorry, too many clients already"), True, id="full"),
        pytest.param(psycopg.OperationalError('FATAL:  database "a" does not exist'), False, id="not there"),
        pytest.param(psycopg.errors.CrashShutdown(), True, id="another session crashed"),
        pytest.param(psycopg.errors.SerializationFailure(), True, id="a conflict with recovery"),
        pytest.param(psycopg.errors.QueryCanceled(), False, id="too slow"),
        pytest.param(psycopg.errors.LockNotAvailable(), False, id="locked"),
        pytest.param(psycopg.errors.DataCorrupted(), False, id="damaged"),
    ],
)
def test_only_transient_errors_are_retried(error: Exception, passes: bool) -> None:
    assert is_transient(error) is passes
