"""Whether a region runs what was applied: like ``kubectl rollout status`` for Deployments and StatefulSets."""

from collections.abc import Iterable

from leeward.compile import KubeObject
from leeward.ports.cluster import (
    DEPLOYMENTS,
    STATEFUL_SETS,
    Cluster,
    ClusterUnavailableError,
    NotFoundError,
    RejectedError,
)

WORKLOADS = {each.kind: each for each in (DEPLOYMENTS, STATEFUL_SETS)}


async def unfinished(cluster: Cluster, items: Iterable[KubeObject], *, timeout_s: float) -> str | None:
    """Return which workload is not rolled out yet, and why; None when all are."""
    for item in items:
        kind, name = item["kind"], item["metadata"]["name"]
        if kind in WORKLOADS:
            try:
                namespace = item["metadata"]["namespace"]
                found = await cluster.get(WORKLOADS[kind], name, namespace=namespace, timeout_s=timeout_s)
            except (ClusterUnavailableError, NotFoundError, RejectedError) as error:
                return f"{kind} {name}: {error}"
            if (why := _unfinished(found)) is not None:
                return f"{kind} {name}: {why}"
    return None


def _unfinished(found: KubeObject) -> str | None:
    wanted, status = int(found["spec"].get("replicas", 1)), found.get("status", {})
    if status.get("observedGeneration", 0) < found["metadata"].get("generation", 0):
        return "the change has not been observed by its controller"
    updated, ready, there = (int(status.get(each, 0)) for each in ("updatedReplicas", "readyReplicas", "replicas"))
    if updated < wanted:
        return f"{updated} of {wanted} pods are new"
    if there > updated:
        return f"{there - updated} old pods are still there"
    return f"{ready} of {wanted} pods are ready" if ready < wanted else None
