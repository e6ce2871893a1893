"""An application's own role, in a running world, plants functions, sets its database and locks a table: the primary
moves all the same, none of it runs as another role, and what async loses is kept digit for digit.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.world.running import Running, patient, running

pytestmark = [pytest.mark.world, pytest.mark.timeout(600)]

US, EU = "us-east-1", "europe-west1"
WRITES = "-c default_transaction_read_only=off"
# They note who runs them, but for the application itself.
NOTE = """
CREATE TABLE public.ran (who text, what text);
GRANT ALL ON public.ran TO PUBLIC;
CREATE FUNCTION public.note(what text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
IF current_user <> 'payments' AND NOT pg_catalog.pg_is_in_recovery() THEN
INSERT INTO public.ran VALUES (current_user, what); END IF; END $$;
CREATE FUNCTION public.pg_is_in_recovery() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
PERFORM public.note('pg_is_in_recovery'); RETURN pg_catalog.pg_is_in_recovery(); END $$;
CREATE FUNCTION public.json_build_array(n name, w text, a boolean) RETURNS json LANGUAGE plpgsql AS $$ BEGIN
PERFORM public.note('json_build_array'); RETURN pg_catalog.json_build_array(n, w, a); END $$;
CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN
PERFORM public.note('now'); RETURN pg_catalog.now(); END $$;
"""
SETTINGS = ("search_path = public, pg_catalog", "synchronous_commit = off", "default_transaction_read_only = on")
AMOUNT = "12345678901234567890.123456789"


@pytest.fixture(scope="module")
def world() -> Iterator[Running]:
    with running("hostile", patient) as found:
        yield found


def orphans(world: Running, region: str) -> list[dict[str, Any]]:
    result = world.run("orphans", "payments", "-o", "json")
    found = json.loads(result.stdout)["orphans"] if result.returncode == 0 else []
    return [each for each in found if each["region"] == region]


def test_what_an_owner_plants_and_sets_neither_runs_nor_stops_a_switchover(world: Running) -> None:
    assert world.settled()["primary"] == US
    world.sql(US, NOTE)
    for setting in SETTINGS:
        world.sql(US, f"ALTER DATABASE payments SET {setting}", options=WRITES)
    weakened = ("False", "SynchronousCommitOff")
    world.until(lambda: world.conditions().get("DurabilityAsPromised") == weakened, "the condition shows it")
    told = "database payments has synchronous_commit = off"
    world.until(lambda: told in world.run("status").stdout, "the status tells of it")
    switchover = ("switchover", "payments", "--to", EU, "--timeout", "60s")
    refused = 6

    def moves() -> bool:
        """A standby may be late for a moment, which the command refuses. It must not fail."""
        done = world.run(*switchover)
        assert done.returncode in (0, refused), done.stderr
        return done.returncode == 0

    world.until(moves, "the primary moves")
    assert world.settled()["primary"] == EU
    assert world.sql(US, "SELECT who, what FROM public.ran", options=WRITES) == []
    assert world.sql(US, "SHOW default_transaction_read_only") == [("on",)]
    world.sql(US, "ALTER DATABASE payments RESET ALL", options=WRITES)
    world.until(lambda: world.pay(US, "k-after"), "the service writes again")
    world.until(lambda: world.conditions().get("DurabilityAsPromised", weakened)[0] == "True", "it is True again")


def test_a_region_with_a_locked_table_and_odd_columns_rejoins_and_keeps_its_orphans(world: Running) -> None:
    assert world.settled()["primary"] == EU
    world.sql(US, "CREATE TABLE public.big (n int); INSERT INTO public.big SELECT generate_series(1, 1000)")
    world.sql(US, "CREATE TABLE public.w (t text, n int PRIMARY KEY, amount numeric)")
    migration = world.background(EU, "ALTER TABLE public.big ADD COLUMN extra text DEFAULT 'x'", host="local")
    writing = world.background(EU, f"INSERT INTO public.w VALUES ('text', %s, {AMOUNT})", host="local", repeated=True)
    world.until(lambda: world.sql(US, "SELECT count(*) FROM public.w")[0][0] > 3, "rows are acknowledged")
    world.done("fault", "cut", "--region", EU)
    world.until(lambda: world.payments().get("primary") not in (None, EU), "another region is primary")
    acknowledged = {int(line) for line in writing.communicate(timeout=60)[0].split()}
    migration.communicate(timeout=60)
    world.done("fault", "heal", "--region", EU)
    world.settled()

    (found,) = world.until(lambda: orphans(world, EU), "what the cut region kept is listed")
    assert (found["unread"], found["unread_tables"]) == ([], 0)
    with open(found["path"], encoding="utf-8") as lines:
        rows = [row["row"] for row in map(json.loads, lines) if "row" in row and row["table"] == "public.w"]
    assert {(row["t"], row["amount"]) for row in rows} == {("text", AMOUNT)}
    there = {number for (number,) in world.sql(US, "SELECT n FROM public.w")}
    assert acknowledged - there, "the cut region acknowledged some while its lease lasted"
    assert acknowledged - there <= {int(row["n"]) for row in rows}
    assert not there & {int(row["n"]) for row in rows}
