"""What a region of a world has beyond what is compiled for it."""

from pathlib import Path

import pytest

from leeward.compile import DatabasePasswords, KubeObject
from leeward.spec import load
from leeward.world import identity
from leeward.world.objects import engine_commands, region_objects

PAYMENTS = Path(__file__).parents[2] / "examples" / "payments"
REGION = "europe-west1"


@pytest.fixture(scope="module")
def objects() -> dict[tuple[str, str], KubeObject]:
    made = identity.create("atlas", {REGION: 2})
    items = region_objects(
        load(PAYMENTS),
        REGION,
        identity=made,
        databases={"payments": DatabasePasswords(owner="a", replication="b")},
        instances={"payments": made.instance("payments", REGION)},
        source_dir=PAYMENTS,
        commands=engine_commands(),
    )
    return {(item["kind"], item["metadata"]["name"]): item for item in items}


def test_a_service_has_its_disruption_budget(objects: dict[tuple[str, str], KubeObject]) -> None:
    budget = objects["PodDisruptionBudget", "payments"]["spec"]
    labels = objects["Deployment", "payments"]["spec"]["template"]["metadata"]["labels"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= labels.items()
