"""A world with `failover: observe`: a lost primary is reported and not replaced. What `tune` measures."""

import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.world.running import Running, running

pytestmark = [pytest.mark.world, pytest.mark.timeout(600)]

PRIMARY, OTHER, FAR = "us-east-1", "europe-west1", "japaneast"
WITHHELD = 'leeward_failovers_withheld_total{application="payments"}'
MOVES = {"PrimaryLost", "FailoverPrepared", "PrimaryElected", "SwitchoverRequested"}


def observed(application: str) -> str:
    return application.replace("spec:\n", "spec:\n  failover: observe\n", 1)


def exports(world: Running, region: str, sample: str) -> bool:
    return sample in world.metrics(region).splitlines()


@pytest.fixture(scope="module")
def world() -> Iterator[Running]:
    with running("observing", observed) as found:
        yield found


def test_tune_measures_a_running_world(world: Running) -> None:
    def regions() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(world.done("tune", "-o", "json"))["regions"]
        return found if all(each["observed_s"] > 2 for each in found) else []

    started_s = json.loads((world.directory / "world.json").read_text("utf-8"))["started_at_unix_s"]
    for each in world.until(regions, "every region's heartbeats were watched for 2 s"):
        # Eight heartbeats per lease of 2 s; a busy machine may make them later, and not rarer than one per lease.
        assert 0.1 < each["observed_s"] / sum(each["counts"]) < 2.0, each
        assert each["observed_s"] < time.time() - started_s, each
    (tuned,) = json.loads(world.done("tune", "-o", "json"))["applications"]
    assert (tuned["failover"], tuned["rto_s"], tuned["lease_s"], tuned["waits_s"]) == ("observe", 5.0, 2.0, 2.0)
    assert tuned["tally"]["needless"] == tuned["tally"]["withheld"] == 0
    assert tuned["proposal"]["rto_s"] is None, "minutes are too little to say anything about a year"
    assert world.done("tune").startswith("NAME "), "the table"


def test_a_lost_primary_is_reported_and_nothing_moves(world: Running) -> None:
    before = world.settled()
    assert (before["primary"], before["withheld_failovers"]) == (PRIMARY, 0)
    assert world.conditions()["Observing"] == ("True", "ObserveOnly")
    world.until(lambda: world.pay(OTHER, "k-before"), "a write is acknowledged")

    world.done("fault", "kill", "--region", PRIMARY)
    world.until(lambda: world.payments().get("withheld_failovers") == 1, "the withheld failover is counted")
    row = world.payments()
    assert (row["primary"], row["epoch"], row["phase"]) == (PRIMARY, before["epoch"], "steady")
    conditions = world.conditions()
    assert conditions["Stalled"] == ("True", "ObservedWithoutPrimary")
    assert conditions["PrimaryWritable"] == ("False", "PrimaryUnheard")
    assert "automatic failover is off, because failover is set to observe; 1 withheld" in world.run("status").stdout
    for region in (OTHER, FAR):
        world.until(partial(exports, world, region, f"{WITHHELD} 1.0"), f"{region} exports the count")
    (record,) = (each for each in world.records() if each.get("reason") == "FailoverWouldHaveStarted")
    assert f"{OTHER} would be elected" in record["because"]
    assert not world.pay(OTHER, "k-without")

    world.done("fault", "start", "--region", PRIMARY)
    after = world.settled()
    assert (after["primary"], after["epoch"], after["withheld_failovers"]) == (PRIMARY, before["epoch"], 1)
    world.until(lambda: world.pay(OTHER, "k-after"), "writes go on")
    assert world.found(OTHER, "k-") >= {"k-before", "k-after"}
    assert not MOVES & {*world.reasons()}


def test_an_operator_may_fail_over(world: Running) -> None:
    epoch = world.settled()["epoch"]
    world.done("fault", "kill", "--region", PRIMARY)
    world.until(lambda: world.payments().get("withheld_failovers") == 2, "each loss is counted")
    world.done("failover", "payments", "--to", OTHER, "--confirm", "payments")
    world.until(lambda: world.pay(FAR, "k-moved"), "a write is acknowledged elsewhere")
    moved = world.payments()
    assert (moved["primary"], moved["epoch"]) == (OTHER, epoch + 1)
    assert world.found(FAR, "k-") >= {"k-before", "k-after", "k-moved"}
    world.done("fault", "start", "--region", PRIMARY)
    assert world.settled()["primary"] == OTHER
