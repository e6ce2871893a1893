"""An owner plants its own objects under the names our statements use: a failover and a rejoin run none of them."""

import pytest

from leeward.core.values import Role
from leeward.instance.postgres import connection
from leeward.instance.postgres.configuration import MANAGER, READER, REPLICATOR, SUPERUSER
from tests.instance.conftest import StartFleet
from tests.instance.instances import DATABASE, Node, lead

pytestmark = pytest.mark.engine

# They note who runs them; where nothing can be written they fail, and with them the statement.
NOTE = """
CREATE TABLE public.ran (who text, what text);
CREATE FUNCTION public.note(what text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
IF pg_catalog.pg_is_in_recovery() THEN RAISE EXCEPTION 'ran on a standby'; END IF;
INSERT INTO public.ran VALUES (current_user, what); RETURN what; END $$;
"""
SCHEMAS = ("public", SUPERUSER, MANAGER, READER, REPLICATOR)
FUNCTIONS = (
    "json_build_array(n name, w text, a boolean) RETURNS json",
    "json_build_array(a text, s text, f bigint, r bigint, y text) RETURNS json",
    "json_build_array(h text, p integer) RETURNS json",
    "current_setting(what text) RETURNS text",
    "pg_is_in_recovery() RETURNS boolean",
    "pg_promote(w boolean) RETURNS boolean",
    "pg_create_physical_replication_slot(n text) RETURNS text",
    "pg_current_wal_flush_lsn() RETURNS pg_lsn",
    "pg_last_wal_replay_lsn() RETURNS pg_lsn",
    "now() RETURNS timestamptz",
    "lower(w text) RETURNS text",
    "split_part(w text, d text, n integer) RETURNS text",
    "format(f text, a text, b text) RETURNS text",
    "pg_relation_filenode(c oid) RETURNS oid",
    "set_config(n text, v text, l boolean) RETURNS text",
)
RELATIONS = ("pg_stat_activity", "pg_replication_slots", "pg_stat_replication", "pg_class", "pg_database", "epoch")
SETTINGS = (
    "search_path = public, pg_catalog",
    "role = payments",
    "synchronous_commit = off",
    "client_min_messages = error",
    "local_preload_libraries = no_such_library",
    "statement_timeout = 1",
    "default_transaction_read_only = on",
)


def function(schema: str, signature: str, result: str) -> str:
    """Return a function that notes its own name."""
    body = f"PERFORM public.note('{signature.partition('(')[0]}'); RETURN {result};"
    return f"CREATE FUNCTION {schema}.{signature} LANGUAGE plpgsql AS $$ BEGIN {body} END $$;"


def hostile(schema: str) -> str:
    """Return what an owner plants in one schema."""
    return "\n".join(
        (
            f"CREATE SCHEMA IF NOT EXISTS {schema};",
            *(function(schema, each, f"NULL::pg_catalog.{each.rpartition(' ')[2]}") for each in FUNCTIONS),
            function(schema, "step(s json, v integer) RETURNS json", "s"),
            f"CREATE AGGREGATE {schema}.json_agg(integer) (SFUNC = {schema}.step, STYPE = json);",
            function(schema, "same(a text, b text) RETURNS boolean", "a OPERATOR(pg_catalog.=) b"),
            f"CREATE OPERATOR {schema}.= (LEFTARG = text, RIGHTARG = text, FUNCTION = {schema}.same);",
            function(schema, "less(a pg_lsn, b text) RETURNS numeric", "0"),
            f"CREATE OPERATOR {schema}.- (LEFTARG = pg_lsn, RIGHTARG = text, FUNCTION = {schema}.less);",
            *(f"CREATE VIEW {schema}.{name} AS SELECT public.note('{name}');" for name in RELATIONS),
        )
    )


async def who_ran(node: Node) -> set[str]:
    async with await connection.as_superuser(node.settings, DATABASE) as session:
        cursor = await session.execute("SELECT DISTINCT who FROM public.ran")
        return {str(who) for (who,) in await cursor.fetchall()}


async def test_nothing_planted_runs_through_a_failover_and_a_rejoin(start_fleet: StartFleet) -> None:
    us, eu = await start_fleet("us", "eu")
    async with us.leased(1):
        await lead(us)
        await eu.settle(1, Role.STANDBY, us)
        owner = await us.connect()
        await owner.execute(NOTE.encode())
        await owner.execute("CREATE TABLE payment (id int PRIMARY KEY, amount text)")
        for schema in SCHEMAS:
            await owner.execute(hostile(schema).encode())
        await owner.execute("SELECT public.lower('x'), public.format('a', 'b', 'c')")
        await owner.execute("REVOKE CONNECT ON DATABASE payments FROM PUBLIC")
        for setting in SETTINGS:
            await owner.execute(f"ALTER DATABASE payments SET {setting}".encode())
            await owner.execute(f"ALTER ROLE payments SET {setting}".encode())
        # Whoever says so has looked at all of it.
        await us.until(lambda status: "database payments has synchronous_commit = off" in status.weakened)
        assert await who_ran(us) == {"payments"}
        await eu.settle(2, Role.DETACHED)
        await owner.execute("INSERT INTO payment VALUES (1, '0.10')")  # after the cut: an orphan
        await owner.close()
    async with eu.leased(2):
        await eu.order(2, Role.PRIMARY)
        await eu.until(lambda status: status.writable and status.proved)
        await us.settle(2, Role.STANDBY, eu, timeout_s=120)
        status = await us.until(lambda status: status.upstream == "eu")
        assert await who_ran(eu) == {"payments"}
    assert [(kept.transactions, kept.rows) for kept in status.orphans] == [(1, 1)]
