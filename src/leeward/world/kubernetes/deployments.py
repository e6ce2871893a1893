"""Deployments make ReplicaSets, ReplicaSets make pods.

A rolling update starts new pods before it ends old ones, and ends an old one only when a new one is ready.
A template with a fixed address cannot have two pods at a time: it is recreated, old before new.
"""

import math
from typing import Any

from leeward.ports.cluster import DEPLOYMENTS, PODS, REPLICA_SETS, KubeObject
from leeward.world.kubernetes.pods import (
    POD_ADDRESS,
    address_taken,
    annotation,
    condition,
    is_ending,
    is_owned,
    is_ready,
    owned_pods,
    owner_reference,
    pod_from,
    template_hash,
)
from leeward.world.kubernetes.recorder import Recorder
from leeward.world.kubernetes.registry import random_suffix
from leeward.world.kubernetes.store import Store, now_text

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
OLD_SETS_DEFAULT = 10


def reconcile_replica_set(store: Store, recorder: Recorder, item: KubeObject) -> None:
    """Bring the number of pods to what the ReplicaSet wants, and write its status."""
    spec = item["spec"]
    wanted = int(spec.get("replicas", 1))
    pods = [pod for pod in owned_pods(store, item) if not is_ending(pod)]
    for _ in range(wanted - len(pods)):
        if address_taken(store, spec["template"]):
            break
        name = f"{item['metadata']['name']}-{random_suffix()}"
        store.create(PODS, pod_from(item, spec["template"], name, {}))
        recorder.normal(item, "SuccessfulCreate", f"Created pod: {name}")
    # Pods without traffic go first, then the youngest.
    order = sorted(range(len(pods)), key=lambda age: (is_ready(pods[age]), -age))
    for pod in (pods[age] for age in order[: max(0, len(pods) - wanted)]):
        store.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
        recorder.normal(item, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")
    ready = sum(is_ready(pod) for pod in pods)
    store.set_status(
        REPLICA_SETS,
        item,
        {
            "replicas": len(pods),
            "fullyLabeledReplicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "observedGeneration": item["metadata"]["generation"],
        },
    )


def reconcile_deployment(store: Store, recorder: Recorder, item: KubeObject) -> None:
    """Bring the Deployment's ReplicaSets one step closer to its template and replicas."""
    sets = [row for row in store.list(REPLICA_SETS, item["metadata"]["namespace"]) if is_owned(row, item)]
    mark = template_hash(item["spec"]["template"])
    name = f"{item['metadata']['name']}-{mark}"
    old = [row for row in sets if row["metadata"]["name"] != name]
    current = next((row for row in sets if row["metadata"]["name"] == name), None)
    if current is None:
        current = _create_set(store, item, name, mark, revision=1 + max(map(_revision, sets), default=0))
    elif old and _revision(current) < max(map(_revision, old)):
        # Back to an earlier template: its ReplicaSet becomes the newest again.
        revision = str(1 + max(map(_revision, old)))
        current = store.edit(
            REPLICA_SETS, current, lambda edited: edited["metadata"]["annotations"].update({REVISION: revision})
        )
        assert current is not None, "nothing runs between reading and editing"
    if _recreates(item):
        _recreate(store, recorder, item, current, old)
    else:
        _roll(store, recorder, item, current, old)
    _forget_old(store, item, old)
    _report(store, item, current, old)


def _create_set(store: Store, item: KubeObject, name: str, mark: str, *, revision: int) -> KubeObject:
    spec = item["spec"]
    template = {**spec["template"], "metadata": dict(spec["template"].get("metadata") or {})}
    template["metadata"]["labels"] = {**template["metadata"].get("labels", {}), HASH_LABEL: mark}
    selector = dict(spec["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: mark}
    return store.create(
        REPLICA_SETS,
        {
            "apiVersion": REPLICA_SETS.api_version,
            "kind": REPLICA_SETS.kind,
            "metadata": {
                "name": name,
                "namespace": item["metadata"]["namespace"],
                "labels": template["metadata"]["labels"],
                "annotations": {REVISION: str(revision)},
                "ownerReferences": [owner_reference(item)],
            },
            "spec": {"replicas": 0, "selector": selector, "template": template},
        },
    )


def _recreates(item: KubeObject) -> bool:
    strategy = (item["spec"].get("strategy") or {}).get("type", "RollingUpdate")
    return strategy == "Recreate" or annotation(item["spec"]["template"], POD_ADDRESS) is not None


def _recreate(store: Store, recorder: Recorder, item: KubeObject, current: KubeObject, old: list[KubeObject]) -> None:
    for row in old:
        _scale(store, recorder, item, row, 0)
    if not any(owned_pods(store, row) for row in old):
        _scale(store, recorder, item, current, _wanted(item))


def _roll(store: Store, recorder: Recorder, item: KubeObject, current: KubeObject, old: list[KubeObject]) -> None:
    wanted = _wanted(item)
    rolling = (item["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    surge = _share(rolling.get("maxSurge", "25%"), wanted, up=True)
    spare = _share(rolling.get("maxUnavailable", "25%"), wanted, up=False)
    if surge == 0 and spare == 0:
        surge = 1
    others = sum(_size(row) for row in old)
    room = max(0, wanted + surge - others)
    _scale(store, recorder, item, current, min(wanted, max(_size(current), room)) if others else wanted)
    # Old pods may go as far as enough others are ready; those that are not ready get no traffic anyway.
    ready = sum(is_ready(pod) for row in [current, *old] for pod in owned_pods(store, row))
    expendable = max(0, ready - (wanted - spare))
    for row in old:
        row_ready = sum(is_ready(pod) for pod in owned_pods(store, row))
        idle = _size(row) - row_ready
        ending = min(row_ready, expendable)
        expendable -= ending
        _scale(store, recorder, item, row, _size(row) - max(0, idle) - ending)


def _scale(store: Store, recorder: Recorder, item: KubeObject, row: KubeObject, size: int) -> None:
    if size == _size(row):
        return
    direction = "up" if size > _size(row) else "down"
    name = row["metadata"]["name"]
    recorder.normal(item, "ScalingReplicaSet", f"Scaled {direction} replica set {name} from {_size(row)} to {size}")
    store.edit(REPLICA_SETS, row, lambda edited: edited["spec"].update(replicas=size))


def _forget_old(store: Store, item: KubeObject, old: list[KubeObject]) -> None:
    idle = sorted((row for row in old if not _size(row) and not owned_pods(store, row)), key=_revision)
    keep = int(item["spec"].get("revisionHistoryLimit", OLD_SETS_DEFAULT))
    for row in idle[: max(0, len(idle) - keep)]:
        store.remove(REPLICA_SETS, row)


def _report(store: Store, item: KubeObject, current: KubeObject, old: list[KubeObject]) -> None:
    new_pods = [pod for pod in owned_pods(store, current) if not is_ending(pod)]
    old_pods = [pod for row in old for pod in owned_pods(store, row) if not is_ending(pod)]
    ready = sum(map(is_ready, new_pods + old_pods))
    wanted, before, now = _wanted(item), item.get("status", {}), now_text()
    done = len(new_pods) == wanted and not old_pods and ready == wanted
    spare = _share(
        ((item["spec"].get("strategy") or {}).get("rollingUpdate") or {}).get("maxUnavailable", "25%"),
        wanted,
        up=False,
    )
    enough = ready >= wanted - spare
    store.set_status(
        DEPLOYMENTS,
        item,
        {
            "replicas": len(new_pods) + len(old_pods),
            "updatedReplicas": len(new_pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": max(0, wanted - ready),
            "observedGeneration": item["metadata"]["generation"],
            "conditions": [
                condition(
                    before,
                    "Available",
                    holds=enough,
                    reason="MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
                    now=now,
                ),
                condition(
                    before,
                    "Progressing",
                    holds=True,
                    reason="NewReplicaSetAvailable" if done else "ReplicaSetUpdated",
                    now=now,
                ),
            ],
        },
    )


def _share(value: Any, whole: int, *, up: bool) -> int:
    """Return a number, or a percentage of ``whole``, as Kubernetes rounds it."""
    if isinstance(value, str) and value.endswith("%"):
        part = whole * float(value[:-1]) / 100
        return math.ceil(part) if up else math.floor(part)
    return int(value)


def _wanted(item: KubeObject) -> int:
    return int(item["spec"].get("replicas", 1))


def _size(row: KubeObject) -> int:
    return int(row["spec"]["replicas"])


def _revision(row: KubeObject) -> int:
    return int(annotation(row, REVISION) or 0)
