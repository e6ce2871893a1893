"""A workload counts as rolled out when its pods are new, ready and alone; with the status as Kubernetes writes it."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from leeward.operate.rollout import unfinished
from leeward.ports.cluster import ClusterUnavailableError, KubeObject, NotFoundError, Resource

APPLIED: list[KubeObject] = [
    {"kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "payments"}},
    {"kind": "StatefulSet", "metadata": {"name": "payments-postgres", "namespace": "payments"}},
]
DONE = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}


@dataclass
class OneWorkload:
    status: dict[str, Any]
    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    async def get(self, resource: Resource, name: str, *, namespace: str | None, timeout_s: float) -> KubeObject:
        assert (namespace, timeout_s) == ("payments", 1.0)
        self.asked.append(f"{resource.kind} {name}")
        if self.error is not None:
            raise self.error
        return {"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": self.status}


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (DONE, None),
        (DONE | {"observedGeneration": 1}, "the change has not been observed by its controller"),
        ({}, "the change has not been observed by its controller"),
        (DONE | {"updatedReplicas": 1}, "1 of 2 pods are new"),
        (DONE | {"replicas": 3}, "1 old pods are still there"),
        (DONE | {"readyReplicas": 1}, "1 of 2 pods are ready"),
    ],
)
async def test_a_workload_is_waited_for(status: dict[str, Any], why: str | None) -> None:
    cluster = OneWorkload(status)
    expected = None if why is None else f"StatefulSet payments-postgres: {why}"
    assert await unfinished(cluster, APPLIED, timeout_s=1.0) == expected  # type: ignore[arg-type]
    assert cluster.asked == ["StatefulSet payments-postgres"]


@pytest.mark.parametrize("error", [ClusterUnavailableError("no answer"), NotFoundError("not there yet")])
async def test_an_api_server_that_fails_is_queried_again(error: Exception) -> None:
    reason = await unfinished(OneWorkload(DONE, error), APPLIED, timeout_s=1.0)  # type: ignore[arg-type]
    assert reason == f"StatefulSet payments-postgres: {error}"
