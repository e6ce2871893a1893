"""A world with `failover: observe`: a lost primary is reported and not replaced. What `tune` measures."""

import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.world.running import Running, patient, running

pytestmark = [pytest.mark.world, pytest.mark.timeout(600)]

PRIMARY, OTHER, FAR = "us-east-1", "europe-west1", "japaneast"
WITHHELD = 'leeward_failovers_withheld_total{application="payments"}'
MOVES = {"PrimaryLost", "FailoverPrepared", "PrimaryElected", "SwitchoverRequested"}


def observed(application: str) -> str:
    """Return the file such that losses are counted, and nothing else: whoever a busy machine holds up is waited for."""
    return patient(application).replace("spec:\n", "spec:\n  failover: observe\n", 1)


def tuned(world: Running) -> dict[str, Any]:
    """Return what `tune` says; nothing while no agent answers in time."""
    result = world.run("tune", "-o", "json")
    found: dict[str, Any] = {} if result.returncode else json.loads(result.stdout)
    return found


def standing(world: Running) -> tuple[Any, ...]:
    row = world.payments()
    return tuple(row.get(name) for name in ("primary", "epoch", "phase", "withheld_failovers"))


def told(world: Running) -> list[str]:
    """Return why a failover would have started, each time."""
    return [each["because"] for each in world.records() if each.get("reason") == "FailoverWouldHaveStarted"]


def exports(world: Running, region: str, sample: str) -> bool:
    return sample in world.metrics(region).splitlines()


@pytest.fixture(scope="module")
def world() -> Iterator[Running]:
    with running("observing", observed) as found:
        yield found


def test_tune_measures_a_running_world(world: Running) -> None:
    def regions() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = tuned(world).get("regions", [])
        return found if all(each["observed_s"] > 2 for each in found) else []

    started_s = json.loads((world.directory / "world.json").read_text("utf-8"))["started_at_unix_s"]
    for each in world.until(regions, "every region's heartbeats were watched for 2 s"):
        # Eight heartbeats per region's lease of 2 s; a busy machine may make them later, and not rarer than one.
        assert 0.1 < each["observed_s"] / sum(each["counts"]) < 2.0, each
        assert each["observed_s"] < time.time() - started_s, each
    (found,) = world.until(lambda: tuned(world).get("applications", []), "an agent tells what was counted")
    assert (found["failover"], found["rto_s"], found["lease_s"]) == ("observe", 60.0, 10.0)
    assert found["waits_s"] == pytest.approx(28.308, abs=0.001)
    assert found["tally"]["needless"] == found["tally"]["withheld"] == 0
    assert found["proposal"]["rto_s"] is None, "minutes are too little to say anything about a year"
    world.until(lambda: world.run("tune").stdout.startswith("NAME "), "the table")


def test_a_lost_primary_is_reported_and_nothing_moves(world: Running) -> None:
    before = world.settled()
    assert (before["primary"], before["withheld_failovers"]) == (PRIMARY, 0)
    observing = ("True", "ObserveOnly")
    world.until(lambda: world.conditions().get("Observing") == observing, "the condition says that it is observed")
    world.until(lambda: world.pay(OTHER, "k-before"), "a write is acknowledged")

    world.done("fault", "kill", "--region", PRIMARY)
    withheld = (PRIMARY, before["epoch"], "steady", 1)
    world.until(lambda: standing(world) == withheld, "the withheld failover is counted, and nothing moves")
    unheard = {"Stalled": ("True", "ObservedWithoutPrimary"), "PrimaryWritable": ("False", "PrimaryUnheard")}
    world.until(lambda: unheard.items() <= world.conditions().items(), "the conditions say so")
    sentence = "automatic failover is off, because failover is set to observe; 1 withheld"
    world.until(lambda: sentence in world.run("status").stdout, "the status says so")
    for region in (OTHER, FAR):
        world.until(partial(exports, world, region, f"{WITHHELD} 1.0"), f"{region} exports the count")
    elected = f"{OTHER} would be elected"
    world.until(lambda: [elected in each for each in told(world)] == [True], "one record says who would be elected")
    assert not world.pay(OTHER, "k-without")

    world.done("fault", "start", "--region", PRIMARY)
    world.settled()
    world.until(lambda: standing(world) == withheld, "it is as before, and the count stays")
    world.until(lambda: world.pay(OTHER, "k-after"), "writes go on")
    assert world.found(OTHER, "k-") >= {"k-before", "k-after"}
    assert not MOVES & {*world.until(world.reasons, "the log is told")}


def test_an_operator_may_fail_over(world: Running) -> None:
    epoch = world.settled()["epoch"]
    world.done("fault", "kill", "--region", PRIMARY)
    world.until(lambda: world.payments().get("withheld_failovers") == 2, "each loss is counted")
    world.done("failover", "payments", "--to", OTHER, "--confirm", "payments", "--timeout", "120s")
    world.until(lambda: world.pay(FAR, "k-moved"), "a write is acknowledged elsewhere")
    world.until(lambda: standing(world)[:2] == (OTHER, epoch + 1), "the status shows who was elected")
    assert world.found(FAR, "k-") >= {"k-before", "k-after", "k-moved"}
    world.done("fault", "start", "--region", PRIMARY)
    assert world.settled()["primary"] == OTHER
