"""What controllers need to know about pods, and how they create them from a template."""

import copy
import hashlib
import json
from collections.abc import Mapping

from leeward.ports.cluster import PODS, KubeObject
from leeward.world.kubernetes.store import Store

POD_ADDRESS = "leeward.dev/pod-address"
"""Annotation on a pod template: the address its single pod always has."""
PROBE_PERIOD_S = "leeward.dev/probe-period-s"
"""Annotation on a pod: how often its readiness is probed, in seconds, fractions allowed; not periodSeconds."""


def owner_reference(owner: KubeObject) -> KubeObject:
    """Return the reference that makes ``owner`` the controller of another object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_owned(item: KubeObject, owner: KubeObject) -> bool:
    """Return whether ``owner`` controls ``item``."""
    references = item["metadata"].get("ownerReferences") or ()
    return any(reference["uid"] == owner["metadata"]["uid"] for reference in references)


def owned_pods(store: Store, owner: KubeObject) -> list[KubeObject]:
    """Return the pods that ``owner`` controls, those that are ending too, oldest first."""
    return [pod for pod in store.list(PODS, owner["metadata"]["namespace"]) if is_owned(pod, owner)]


def is_ending(pod: KubeObject) -> bool:
    """Return whether the pod was deleted and its processes may still run."""
    return "deletionTimestamp" in pod["metadata"]


def is_ready(pod: KubeObject) -> bool:
    """Return whether the pod may get traffic."""
    conditions = pod.get("status", {}).get("conditions", ())
    return not is_ending(pod) and any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions
    )


def annotation(item: KubeObject, name: str) -> str | None:
    """Return an annotation of an object or a template, or None."""
    value = ((item.get("metadata") or {}).get("annotations") or {}).get(name)
    return None if value is None else str(value)


def address_taken(store: Store, template: KubeObject) -> bool:
    """Return whether another pod, even one that is ending, has the template's fixed address."""
    address = annotation(template, POD_ADDRESS)
    return address is not None and any(annotation(pod, POD_ADDRESS) == address for pod in store.list(PODS))


def template_hash(template: KubeObject) -> str:
    """Return a short name for this exact template."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def pod_from(owner: KubeObject, template: KubeObject, name: str, labels: Mapping[str, str]) -> KubeObject:
    """Return a pod of this template, controlled by ``owner``, not yet stored."""
    metadata = copy.deepcopy(template.get("metadata") or {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    metadata["name"] = name
    metadata["namespace"] = owner["metadata"]["namespace"]
    metadata["ownerReferences"] = [owner_reference(owner)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"])}


def condition(before: KubeObject, kind: str, *, holds: bool, reason: str, now: str) -> KubeObject:
    """Return a condition, with the time of its last transition kept from the status before."""
    status = "True" if holds else "False"
    for held in before.get("conditions", ()):
        if held["type"] == kind and held["status"] == status:
            now = held["lastTransitionTime"]
    return {"type": kind, "status": status, "reason": reason, "lastTransitionTime": now}
