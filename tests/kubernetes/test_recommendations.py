"""``leeward recommendations`` against a real API server that knows VerticalPodAutoscalers, and one that does not."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from leeward.adapters.kubernetes.client import KubernetesCluster
from leeward.compile import compile_cluster
from leeward.ports.cluster import VERTICAL_POD_AUTOSCALERS
from leeward.spec import load
from leeward.world.objects import engine_commands
from tests.cli.conftest import Run, leeward
from tests.kubernetes.controlplane import ControlPlane, control_plane
from tests.kubernetes.test_live_diff import CALL_S, EXAMPLES, apply, kubeconfig

__all__ = ["leeward"]  # the fixture

pytestmark = [pytest.mark.kubernetes, pytest.mark.engine, pytest.mark.timeout(300)]

SAID = {
    "containerName": "hello",
    "lowerBound": {"cpu": "25m", "memory": "50Mi"},
    "target": {"cpu": "40m", "memory": "80Mi"},
    "uncappedTarget": {"cpu": "40m", "memory": "80Mi"},
    "upperBound": {"cpu": "400m", "memory": "300Mi"},
}


def write_files(directory: Path) -> None:
    directory.mkdir()
    (directory / "fleet.yaml").write_text((EXAMPLES / "hello" / "fleet.yaml").read_text("utf-8"), "utf-8")
    text = (EXAMPLES / "hello" / "application.yaml").read_text("utf-8")
    assert "  service:\n" in text
    asked = "  service:\n    autoscaling: {min: 2, max: 4, vertical: recommend}\n"
    (directory / "application.yaml").write_text(text.replace("  service:\n", asked), "utf-8")


def say(plane: ControlPlane, status: dict[str, Any]) -> None:
    async def write() -> None:
        async with KubernetesCluster(plane.connection) as cluster:
            await cluster.patch(
                VERTICAL_POD_AUTOSCALERS,
                "hello",
                {"status": status},
                namespace="hello",
                subresource="status",
                timeout_s=CALL_S,
            )

    asyncio.run(write())


def test_recommendations_beside_what_is_requested(plane: ControlPlane, leeward: Run, tmp_path: Path) -> None:
    files = tmp_path / "files"
    write_files(files)
    items = compile_cluster(load(files), "us", engines=engine_commands())
    wanted = [item for item in items if item["kind"] in ("VerticalPodAutoscaler", "Deployment", "Namespace")]
    apply(plane, [item for item in wanted if item["metadata"].get("namespace", "hello") == "hello"])
    ask = ("recommendations", "-f", str(files), "-c", "us", "--kubeconfig", kubeconfig(plane, tmp_path))

    asked = leeward(*ask)
    assert asked.returncode == 0
    assert "hello/hello: no recommendation yet" in asked.stderr

    say(plane, {"recommendation": {"containerRecommendations": [SAID]}})
    shown = leeward(*ask)
    assert shown.returncode == 0
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert rows[0] == ["NAMESPACE", "NAME", "CONTAINER", "RESOURCE", "REQUESTED", "LOWER", "TARGET", "UPPER"]
    (deployment,) = (item for item in wanted if item["kind"] == "Deployment" and item["metadata"]["name"] == "hello")
    requested = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert rows[1] == ["hello", "hello", "hello", "cpu", requested["cpu"], "25m", "40m", "400m"]
    assert rows[2] == ["hello", "hello", "hello", "memory", requested["memory"], "50Mi", "80Mi", "300Mi"]
    document = json.loads(leeward(*ask, "-o", "json").stdout)
    assert [each["target"] for each in document["recommendations"]] == ["40m", "80Mi"]

    reason = {"type": "RecommendationProvided", "status": "False", "message": "no pods match"}
    say(plane, {"recommendation": None, "conditions": [reason]})
    assert "hello/hello: no recommendation: no pods match" in leeward(*ask).stderr


def test_a_cluster_without_the_vertical_autoscaler_is_told_so(leeward: Run, tmp_path: Path) -> None:
    files = tmp_path / "files"
    write_files(files)
    (tmp_path / "plain").mkdir()
    with control_plane(tmp_path / "plain") as plain:
        answer = leeward("recommendations", "-f", str(files), "-c", "us", "--kubeconfig", kubeconfig(plain, tmp_path))
    assert answer.returncode == 2
    assert "missing-definitions" in answer.stderr
