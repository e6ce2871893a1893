"""Events: what happened to an object, in one sentence with a CamelCase reason. Repeats are counted."""

from leeward.ports.cluster import EVENTS, NAMESPACES, KubeObject
from leeward.world.kubernetes.registry import Registry, random_suffix
from leeward.world.kubernetes.store import now_text

EVENTS_MAX = 500
NORMAL, WARNING = "Normal", "Warning"


class Recorder:
    """Writes events into the store and keeps their number bounded."""

    def __init__(self, registry: Registry, component: str) -> None:
        self._store = registry.store
        self._component = component
        # (uid, reason, message) -> the event that counts it; in order of first appearance.
        self._known: dict[tuple[str, str, str], KubeObject] = {}

    def normal(self, item: KubeObject, reason: str, message: str) -> None:
        """Record something expected."""
        self._record(item, NORMAL, reason, message)

    def warning(self, item: KubeObject, reason: str, message: str) -> None:
        """Record something that may need attention."""
        self._record(item, WARNING, reason, message)

    def _record(self, item: KubeObject, kind: str, reason: str, message: str) -> None:
        metadata = item["metadata"]
        place = self._store.find(NAMESPACES, "", metadata.get("namespace") or "default")
        if place is None or "deletionTimestamp" in place["metadata"]:
            return  # An event would outlive its namespace.
        mark = (metadata["uid"], reason, message)
        known = self._known.get(mark)
        if known is not None:
            counted = self._store.edit(EVENTS, known, _count)
            if counted is not None:
                self._known[mark] = counted
                return
        now = now_text()
        namespace = metadata.get("namespace") or "default"
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{random_suffix(10)}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": item["apiVersion"],
                "kind": item["kind"],
                "namespace": metadata.get("namespace", ""),
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": self._component},
        }
        self._known[mark] = self._store.create(EVENTS, event)
        while len(self._known) > EVENTS_MAX:
            self._store.remove(EVENTS, self._known.pop(next(iter(self._known))))


def _count(event: KubeObject) -> None:
    event["count"] += 1
    event["lastTimestamp"] = now_text()
