"""Data regions of a running world are added, reordered and removed under load; no acknowledged write is lost."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.world.running import Running, Writer, running

pytestmark = [pytest.mark.world, pytest.mark.timeout(900)]

US, EU, AP = "us-east-1", "europe-west1", "japaneast"
PLACED = "regions: [us-east-1, europe-west1, japaneast]"


def two_regions_in_quorum(application: str) -> str:
    assert PLACED in application
    return place(application, US, EU).replace("replication: async", "replication: quorum")


def place(application: str, *regions: str) -> str:
    head, _, tail = application.partition("    regions: [")
    return f"{head}    regions: [{', '.join(regions)}]{tail[tail.index(']') + 1 :]}"


@pytest.fixture(scope="module")
def world() -> Iterator[Running]:
    with running("placing", two_regions_in_quorum) as found:
        yield found


def apply(world: Running, *regions: str) -> None:
    """Name these data regions in the file, and apply it as an operator does."""
    path = world.files / "application.yaml"
    path.write_text(place(path.read_text("utf-8"), *regions), "utf-8")
    assert "~" in world.done("apply", "--dry-run")
    world.done("apply", "--timeout", "240s")
    world.until(lambda: applied(world) == (regions, None, len(regions), {*regions}), "it is as in the file")


def applied(world: Running) -> tuple[object, ...]:
    """Return which data regions there are, what is changing, and how many and which regions are shown, in one look."""
    status = world.status()
    row: dict[str, Any] = next(iter(status["applications"]), {})
    shown = {each["region"] for each in status["regions"]}
    return tuple(row.get("data_regions", ())), row.get("changing", "unknown"), row.get("regions"), shown


def slots(world: Running) -> int:
    """Return how many replicas the primary keeps WAL for."""
    ((found,),) = world.sql(AP, "SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical'")
    return int(found)


def test_data_regions_join_are_reordered_and_leave_under_load(world: Running) -> None:
    assert world.settled()["data_regions"] == [US, EU]
    with Writer(world, EU, "k-") as writer:
        world.until(lambda: len(writer.acknowledged) > 20, "writes are acknowledged")
        apply(world, US, AP, EU)
        world.until(lambda: world.settled()["ready"] == 3, "three regions are ready")
        world.until(lambda: slots(world) == 2, "the primary keeps WAL for both standbys")
        apply(world, US, AP)
        world.until(lambda: slots(world) == 1, "the slot of the region that left is dropped")
        before = len(writer.acknowledged)
        world.until(lambda: len(writer.acknowledged) > before + 20, "writes go on")
    reasons = world.reasons()
    assert {"DataRegionJoined", "DataRegionLeft"} <= {*reasons}
    assert writer.acknowledged - world.found(US, "k-") == set(), "lost"
    assert "SwitchoverStarted" in reasons, "a primary is switched over before its region restarts"
    assert world.done("apply").split() == ["world/placing", "unchanged"]


def test_a_removed_region_stays_removed_when_it_starts_again(world: Running) -> None:
    world.done("fault", "kill", "--region", EU)
    world.done("fault", "start", "--region", EU)
    row = world.settled()
    assert row["data_regions"] == [US, AP]
    world.until(lambda: world.run("get", "pods", "--region", EU).returncode == 0, "its API server answers")
    assert "payments-postgres-0" not in world.done("get", "pods", "--region", EU)
