"""The manager's own sessions, against a database whose owner sets every parameter PostgreSQL lets it set."""

from collections.abc import Mapping

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import TupleRow

from leeward.instance.postgres import connection
from leeward.instance.postgres.configuration import MANAGER, OWN_DATABASE, READER, REPLICATOR, SUPERUSER
from leeward.instance.postgres.pinned import PINNED, PINNED_BY_SUPERUSER, options
from leeward.instance.settings import RESERVED_NAMES
from leeward.spec.check_application import RESERVED_DATABASES
from tests.instance.conftest import StartFleet
from tests.instance.instances import DATABASE, PASSWORD, Node, lead

# They change how long a statement of ours takes, not what it means or does.
ONLY_TUNES = ("Query Tuning / ", "Resource Usage / ", "Vacuuming / ", "Write-Ahead Log / Settings")
HARMLESS = {
    "gin_fuzzy_search_limit": "limits index scans of full text, which no statement of ours does",
    "gin_pending_list_limit": "size of an index's buffer",
    "synchronize_seqscans": "order of rows, which we sort where it matters",
    "icu_validation_level": "no statement of ours creates a collation",
    "md5_password_warnings": "a warning about verifiers that we do not make",
    "application_name": "sent by each session",
    "default_toast_compression": "how a value is stored",
    "log_parameter_max_length_on_error": "length of a log line",
    "transaction_isolation": "PostgreSQL sets it from default_transaction_isolation as each transaction begins",
    "transaction_read_only": "PostgreSQL sets it from default_transaction_read_only as each transaction begins",
    "transaction_deferrable": "PostgreSQL sets it from default_transaction_deferrable as each transaction begins",
}
HARMLESS_KINDS = ("tcp_", "debug_", "trace_", "jit_")
HOSTILE = {
    "search_path": "public, pg_catalog",
    "role": "payments",
    "local_preload_libraries": "no_such_library",
    "client_encoding": "LATIN1",
    "DateStyle": "SQL, DMY",
    "TimeZone": "Asia/Tokyo",
    "lc_monetary": "POSIX",
    "lc_numeric": "POSIX",
    "lc_time": "POSIX",
    "default_table_access_method": "heap2",
    "default_text_search_config": "pg_catalog.english",
    "timezone_abbreviations": "India",
    "synchronous_commit": "off",
    "default_transaction_isolation": "serializable",
    "temp_tablespaces": "pg_default",
    "default_tablespace": "pg_default",
    "restrict_nonsystem_relation_kind": "view",
    "createrole_self_grant": "set",
}


def test_options_escape_what_separates_words() -> None:
    assert options({"a": "b, c", "d": "e\\f"}) == r"-c a=b,\ c -c d=e\\f"
    assert options({}) == ""


@pytest.mark.engine
async def test_nothing_that_the_owner_sets_for_its_database_reaches_our_sessions(start_fleet: StartFleet) -> None:
    (node,) = await start_fleet("eu")
    async with node.leased(1):
        await lead(node)
        for name in PINNED:
            await _set(node, name)
        with pytest.raises(psycopg.OperationalError):
            await node.connect()  # the owner's own sessions suffer: the library is not there
        async with await connection.as_superuser(node.settings, DATABASE) as session:
            assert await _not_ours(session, {**PINNED, **PINNED_BY_SUPERUSER}) == []
            assert await (await session.execute("SELECT current_user")).fetchall() == [("postgres",)]
        async with await connection.to_read(node.settings, DATABASE) as session:
            assert await _not_ours(session, PINNED) == []
        async with await connection.for_replication(node.settings, node.settings.postgres, PASSWORD) as session:
            assert await _not_ours(session, PINNED) == []


@pytest.mark.engine
async def test_every_parameter_a_role_may_set_is_pinned_or_known_to_be_harmless(start_fleet: StartFleet) -> None:
    (node,) = await start_fleet("eu")
    async with node.leased(1):
        await lead(node)
        async with await node.connect() as session:
            cursor = await session.execute("SELECT name, category FROM pg_settings WHERE context = 'user'")
            found = {str(name): str(category) for name, category in await cursor.fetchall()}
    tuning = {name for name, category in found.items() if category.startswith(ONLY_TUNES)} - {"synchronous_commit"}
    unknown = found.keys() - tuning - HARMLESS.keys() - PINNED.keys()
    assert {name for name in unknown if not name.startswith(HARMLESS_KINDS)} == set()


async def _set(node: Node, name: str) -> None:
    """Set a parameter for the database, as its owner, to a value that is not ours."""
    async with await connection.as_superuser(node.settings, DATABASE) as session:
        cursor = await session.execute("SELECT vartype, enumvals FROM pg_settings WHERE name = %s", (name,))
        row = await cursor.fetchone()
        kind, values = row if row is not None else ("string", None)
        value = HOSTILE.get(name)
        if value is None:
            other = {"on": "off", "off": "on"}.get(PINNED[name], "1")
            value = next(each for each in values if each != PINNED[name]) if kind == "enum" else other
        if name == "default_table_access_method":
            await session.execute("CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler")
        await session.execute("SET SESSION AUTHORIZATION payments")
        words = sql.SQL(", ").join(sql.Literal(word) for word in value.split(", "))
        await session.execute(
            sql.SQL("ALTER DATABASE {} SET {} = {}").format(sql.Identifier(DATABASE), sql.Identifier(name), words)
        )


async def _not_ours(session: psycopg.AsyncConnection[TupleRow], pinned: Mapping[str, str]) -> list[TupleRow]:
    cursor = await session.execute("SELECT name, setting, source FROM pg_settings")
    return [row for row in await cursor.fetchall() if row[0] in pinned and row[2] != "client"]


def test_an_application_cannot_take_a_name_of_ours() -> None:
    assert set(RESERVED_DATABASES) == {name for name in RESERVED_NAMES if "_" not in name}
    assert {SUPERUSER, MANAGER, READER, REPLICATOR, OWN_DATABASE} <= set(RESERVED_NAMES)
