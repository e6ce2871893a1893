"""What `leeward apply` would change in each region of a running world."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from leeward.cli.apply import lines_of
from leeward.core.identities import CLUSTER_CA
from leeward.operate.apply_plan import plan
from leeward.operate.assemble import Assembly, assemble
from leeward.operate.worlds import cluster_in
from leeward.spec import ProblemsError, load
from leeward.world import authorities
from leeward.world.client import World
from leeward.world.model import RegionInfo, RegionState
from tests.world.conftest import home

__all__ = ["home"]

PAYMENTS = Path(__file__).parents[2] / "examples" / "payments"
ALL = "regions: [us-east-1, europe-west1, japaneast]"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    copied = tmp_path / "files"
    shutil.copytree(PAYMENTS, copied)
    change(copied, ALL, "regions: [us-east-1, europe-west1]")
    return copied


@pytest.fixture
def world(files: Path, home: Path) -> Iterator[Assembly]:
    del home
    built = assemble(files, "w")
    yield built
    built.claim.abandon()


def change(files: Path, old: str, new: str, name: str = "application.yaml") -> None:
    text = (files / name).read_text("utf-8")
    assert old in text
    (files / name).write_text(text.replace(old, new), "utf-8")


def test_the_same_files_change_nothing(world: Assembly, files: Path) -> None:
    assert list(lines_of(plan(load(files), world.config))) == []


def test_a_data_region_that_is_added_gets_its_objects_and_every_agent_its_settings(
    world: Assembly, files: Path
) -> None:
    change(files, "regions: [us-east-1, europe-west1]", ALL)
    plans = plan(load(files), world.config)
    lines = list(lines_of(plans))
    assert "+ japaneast: StatefulSet payments/payments-postgres" in lines
    assert [each.region for each in plans if each.restarts_agent] == ["us-east-1", "europe-west1", "japaneast"]
    assert [line for line in lines if line.startswith("-")] == []
    assert "+ japaneast: Secret payments/payments-identity" in lines
    assert not [line for line in lines if line.startswith("~") and "Secret" in line], "identities in use stay"
    secrets = {
        each.region: item["stringData"]
        for each in plans
        for item in each.wanted
        if (item["kind"], item["metadata"]["name"]) == ("Secret", "payments-database")
    }
    assert secrets["japaneast"] == secrets["us-east-1"], "standbys copy the primary's users"


def test_what_is_no_longer_named_is_removed_and_volumes_are_not(world: Assembly, files: Path) -> None:
    change(files, "regions: [us-east-1, europe-west1]", "regions: [us-east-1, japaneast]")
    _, europe, _ = plan(load(files), world.config)
    kinds = {item["kind"] for item in europe.removed}
    assert {"StatefulSet", "Deployment", "Secret"} <= kinds
    assert not kinds & {"Namespace", "PersistentVolumeClaim"}


def test_a_running_world_keeps_its_links(world: Assembly, files: Path) -> None:
    change(files, "rtt: 80ms", "rtt: 90ms", "fleet.yaml")
    with pytest.raises(ProblemsError, match="world-fixed"):
        plan(load(files), world.config)


def test_a_world_of_an_earlier_version_is_refused(world: Assembly, files: Path) -> None:
    shutil.rmtree(Path(world.config.directory) / authorities.DIRECTORY)
    with pytest.raises(ProblemsError, match="world-of-earlier-version"):
        plan(load(files), world.config)


async def test_an_api_server_of_an_earlier_version_is_not_asked(world: Assembly) -> None:
    directory = Path(world.config.directory)
    here = RegionInfo(
        name="us-east-1",
        index=1,
        state=RegionState.RUNNING,
        because="",
        pid=None,
        directory=str(world.config.region_directory("us-east-1")),
        gateway_url="",
        agent_url="",
        api_url="https://127.0.0.1:6443",
        dns_host="",
        dns_port=0,
    )
    async with cluster_in(World(directory), here):
        (directory / "operator" / CLUSTER_CA).unlink()
    with pytest.raises(ProblemsError, match="world-of-earlier-version"):
        cluster_in(World(directory), here)
