"""Garbage collection: objects whose owner is gone, and everything in a namespace that is ending."""

from leeward.ports.cluster import NAMESPACES, KubeObject
from leeward.world.kubernetes.registry import Registry


def collect(registry: Registry) -> None:
    """Delete orphans and the content of ending namespaces; remove such namespaces once they are empty."""
    store = registry.store
    ending = {
        item["metadata"]["name"]: item for item in store.list(NAMESPACES) if "deletionTimestamp" in item["metadata"]
    }
    present = {item["metadata"]["uid"] for _, item in store.everything()}
    occupied: set[str] = set()
    for resource, item in store.everything():
        namespace = item["metadata"].get("namespace", "")
        if namespace in ending or _is_orphan(item, present):
            if "deletionTimestamp" not in item["metadata"]:
                registry.delete(resource, namespace, item["metadata"]["name"])
            if store.find(resource, namespace, item["metadata"]["name"]) is not None:
                occupied.add(namespace)
    for name, item in ending.items():
        if name not in occupied:
            store.remove(NAMESPACES, item)


def _is_orphan(item: KubeObject, present: set[str]) -> bool:
    references = item["metadata"].get("ownerReferences") or ()
    return bool(references) and not any(reference["uid"] in present for reference in references)
