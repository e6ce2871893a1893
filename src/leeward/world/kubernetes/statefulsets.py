"""StatefulSets: pods with ordinals, one at a time, each with claims of its own that outlive it."""

import copy

from leeward.ports.cluster import PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS, KubeObject
from leeward.world.kubernetes.pods import (
    address_taken,
    is_ending,
    is_ready,
    owned_pods,
    pod_from,
    template_hash,
)
from leeward.world.kubernetes.recorder import Recorder
from leeward.world.kubernetes.store import Store

REVISION_LABEL = "controller-revision-hash"
POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"


def reconcile_stateful_set(store: Store, recorder: Recorder, item: KubeObject) -> None:
    """Take one step: create the next pod, end the last one too many, or replace an outdated one."""
    spec, name = item["spec"], item["metadata"]["name"]
    wanted = int(spec.get("replicas", 1))
    mark = template_hash(spec["template"])
    pods = {pod["metadata"]["name"]: pod for pod in owned_pods(store, item)}
    names = [f"{name}-{ordinal}" for ordinal in range(wanted)]
    filled = _fill(store, recorder, item, pods, names, mark)
    if filled and not _shrink(store, recorder, item, pods, names):
        _update(store, recorder, item, pods, names, mark)
    live = [pod for pod in owned_pods(store, item) if not is_ending(pod)]
    updated = sum(pod["metadata"]["labels"].get(REVISION_LABEL) == mark for pod in live)
    ready = sum(map(is_ready, live))
    store.set_status(
        STATEFUL_SETS,
        item,
        {
            "replicas": len(live),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "currentReplicas": updated,
            "updatedReplicas": updated,
            "currentRevision": f"{name}-{mark}",
            "updateRevision": f"{name}-{mark}",
            "observedGeneration": item["metadata"]["generation"],
        },
    )


def _fill(
    store: Store,
    recorder: Recorder,
    item: KubeObject,
    pods: dict[str, KubeObject],
    names: list[str],
    mark: str,
) -> bool:
    """Create missing pods in order; return whether none is missing and all that must be ready are."""
    ordered = item["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady"
    complete = True
    for ordinal, name in enumerate(names):
        pod = pods.get(name)
        if pod is None and not address_taken(store, item["spec"]["template"]):
            _create(store, recorder, item, ordinal, mark)
        if pod is None or is_ending(pod):
            complete = False
        if ordered and (pod is None or not is_ready(pod)):
            # An outdated pod that never gets ready must not block its own replacement.
            return complete and pod is not None and pod["metadata"]["labels"].get(REVISION_LABEL) != mark
    return complete


def _create(store: Store, recorder: Recorder, item: KubeObject, ordinal: int, mark: str) -> None:
    namespace, name = item["metadata"]["namespace"], f"{item['metadata']['name']}-{ordinal}"
    labels = {REVISION_LABEL: mark, POD_NAME_LABEL: name, INDEX_LABEL: str(ordinal)}
    pod = pod_from(item, item["spec"]["template"], name, labels)
    volumes = pod["spec"].setdefault("volumes", [])
    for template in item["spec"].get("volumeClaimTemplates") or ():
        volume = template["metadata"]["name"]
        claim = f"{volume}-{name}"
        # A template's volume replaces one of the same name in the pod.
        volumes[:] = [row for row in volumes if row["name"] != volume]
        volumes.append({"name": volume, "persistentVolumeClaim": {"claimName": claim}})
        if store.find(PERSISTENT_VOLUME_CLAIMS, namespace, claim) is None:
            made = copy.deepcopy(template)
            made.update(apiVersion="v1", kind="PersistentVolumeClaim", status={"phase": "Bound"})
            made["metadata"].update(name=claim, namespace=namespace)
            store.create(PERSISTENT_VOLUME_CLAIMS, made)
    store.create(PODS, pod)
    recorder.normal(item, "SuccessfulCreate", f"create Pod {name} in StatefulSet successful")


def _shrink(store: Store, recorder: Recorder, item: KubeObject, pods: dict[str, KubeObject], names: list[str]) -> bool:
    """End the highest ordinal too many; return whether there was one."""
    extra = sorted((name for name in pods if name not in names), key=lambda name: int(name.rpartition("-")[2]))
    if not extra:
        return False
    if not any(is_ending(pods[name]) for name in extra):
        _delete(store, recorder, item, pods[extra[-1]])
    return True


def _update(
    store: Store,
    recorder: Recorder,
    item: KubeObject,
    pods: dict[str, KubeObject],
    names: list[str],
    mark: str,
) -> None:
    """Replace the highest outdated ordinal, when all above it are new and ready."""
    if (item["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "OnDelete":
        return
    for name in reversed(names):
        pod = pods.get(name)
        if pod is None:
            continue
        if pod["metadata"]["labels"].get(REVISION_LABEL) != mark:
            _delete(store, recorder, item, pod)
            return
        if not is_ready(pod):
            return


def _delete(store: Store, recorder: Recorder, item: KubeObject, pod: KubeObject) -> None:
    store.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
    recorder.normal(item, "SuccessfulDelete", f"delete Pod {pod['metadata']['name']} in StatefulSet successful")
