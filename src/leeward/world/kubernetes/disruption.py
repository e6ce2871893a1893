"""Disruption budgets: how many pods may be missing on purpose, and evictions that respect them.

Always true: an eviction that is allowed is a deletion at once, so that the next one is counted against what is left.
"""

import math
from typing import Any

from leeward.ports.cluster import (
    DEPLOYMENTS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    KubeObject,
)
from leeward.world.kubernetes import errors
from leeward.world.kubernetes.pods import is_ending, is_ready
from leeward.world.kubernetes.registry import Registry
from leeward.world.kubernetes.selectors import labels_of, matches_selector
from leeward.world.kubernetes.store import Store

_OWNERS = {"Deployment": DEPLOYMENTS, "ReplicaSet": REPLICA_SETS, "StatefulSet": STATEFUL_SETS}


def reconcile_budget(store: Store, item: KubeObject) -> None:
    """Write how many more pods may be evicted at the moment."""
    pods = _covered(store, item)
    expected = _expected(store, item, pods)
    healthy, needed = sum(map(is_ready, pods)), _needed(item, expected)
    store.set_status(
        POD_DISRUPTION_BUDGETS,
        item,
        {
            "currentHealthy": healthy,
            "desiredHealthy": needed,
            "disruptionsAllowed": max(0, healthy - needed),
            "expectedPods": expected,
            "observedGeneration": item["metadata"]["generation"],
        },
    )


def evict(registry: Registry, namespace: str, name: str, *, grace_s: int | None) -> None:
    """Delete a pod unless its budget forbids it. Raises ApiError 429 then, 404 when there is no such pod."""
    store = registry.store
    pod = store.get(PODS, namespace, name)
    budgets = [item for item in store.list(POD_DISRUPTION_BUDGETS, namespace) if _covers(item, pod)]
    if len(budgets) > 1:
        raise errors.ApiError(
            500, "InternalError", "This pod has more than one PodDisruptionBudget, which eviction does not support."
        )
    if not is_ending(pod) and not all(_allows(store, item, pod) for item in budgets):
        raise errors.over_budget(budgets[0]["metadata"]["name"])
    registry.delete(PODS, namespace, name, grace_s=grace_s)


def _allows(store: Store, item: KubeObject, pod: KubeObject) -> bool:
    pods = _covered(store, item)
    healthy, needed = sum(map(is_ready, pods)), _needed(item, _expected(store, item, pods))
    if is_ready(pod):
        return healthy > needed
    # It gets no traffic, but without it there may never be enough healthy pods.
    return item["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow" or healthy >= needed > 0


def _covers(item: KubeObject, pod: KubeObject) -> bool:
    selector = item["spec"].get("selector")
    return selector is not None and matches_selector(selector, labels_of(pod))


def _covered(store: Store, item: KubeObject) -> list[KubeObject]:
    return [pod for pod in store.list(PODS, item["metadata"]["namespace"]) if _covers(item, pod)]


def _expected(store: Store, item: KubeObject, pods: list[KubeObject]) -> int:
    """Return how many pods there should be: what their controllers want, and each that has none."""
    if isinstance(item["spec"].get("minAvailable"), int):
        return len(pods)
    wanted: dict[str, int] = {}
    for pod in pods:
        owner = _owner(store, pod)
        if owner is None:
            wanted[pod["metadata"]["uid"]] = 1
        else:
            wanted[owner["metadata"]["uid"]] = int(owner["spec"].get("replicas", 1))
    return sum(wanted.values())


def _owner(store: Store, item: KubeObject) -> KubeObject | None:
    """Return the topmost controller of an object."""
    found = None
    references = item["metadata"].get("ownerReferences") or ()
    while reference := next((row for row in references if row.get("controller") and row["kind"] in _OWNERS), None):
        owner = store.find(_OWNERS[reference["kind"]], item["metadata"]["namespace"], reference["name"])
        if owner is None:
            break
        found, references = owner, owner["metadata"].get("ownerReferences") or ()
    return found


def _needed(item: KubeObject, expected: int) -> int:
    spec = item["spec"]
    if "maxUnavailable" in spec:
        return max(0, expected - _part(spec["maxUnavailable"], expected))
    return _part(spec.get("minAvailable", 1), expected)


def _part(value: Any, whole: int) -> int:
    """Return a number, or a percentage of ``whole``, rounded up as Kubernetes does."""
    if isinstance(value, str) and value.endswith("%"):
        return math.ceil(whole * float(value[:-1]) / 100)
    return int(value)
