"""Objects in memory, with versions, and a bounded history to watch.

Always true: every change has the next resource version, and the history holds the latest changes without
a gap. Objects handed out are shared: never change one, make a deep copy.
Not here: what an object may look like (``registry``).
"""

import asyncio
import copy
import itertools
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from leeward.ports.cluster import PODS, Change, KubeObject, Resource
from leeward.world.kubernetes import errors

HISTORY_MAX = 2048
Key = tuple[str, str]
"""Namespace (empty for cluster-wide kinds) and name."""


@dataclass(frozen=True, slots=True)
class StoredChange:
    """One change, with the object before it: a watch with a selector needs both."""

    version: int
    change: Change
    resource: Resource
    item: KubeObject
    before: KubeObject | None


def now_text() -> str:
    """Return the present as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def key_of(item: KubeObject) -> Key:
    """Return where the object is kept among those of its kind."""
    metadata = item["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


class Store:
    """All objects of one cluster."""

    def __init__(self, *, history_max: int = HISTORY_MAX) -> None:
        # Versions keep rising when the region restarts with an empty store, so that an older watch gets
        # "410 Gone" for its version. One change per millisecond never overtakes the clock.
        self._version = time.time_ns() // 1_000_000
        self._objects: dict[Resource, dict[Key, KubeObject]] = {}
        self._history: deque[StoredChange] = deque(maxlen=history_max)
        self._changed = asyncio.Event()

    @property
    def version(self) -> int:
        """The version of the latest change."""
        return self._version

    def find(self, resource: Resource, namespace: str, name: str) -> KubeObject | None:
        """Return the object, or None."""
        return self._objects.get(resource, {}).get((namespace if resource.namespaced else "", name))

    def get(self, resource: Resource, namespace: str, name: str) -> KubeObject:
        """Return the object. Raises ApiError 404."""
        item = self.find(resource, namespace, name)
        if item is None:
            raise errors.not_found(resource, name)
        return item

    def list(self, resource: Resource, namespace: str = "") -> tuple[KubeObject, ...]:
        """Return the objects of a kind, of all namespaces when none is named, in order of creation."""
        return tuple(
            item for (of, _), item in self._objects.get(resource, {}).items() if not namespace or of == namespace
        )

    def everything(self) -> Iterator[tuple[Resource, KubeObject]]:
        """Yield every object there is at this moment."""
        for resource in tuple(self._objects):
            for item in self.list(resource):
                yield resource, item

    def create(self, resource: Resource, item: KubeObject) -> KubeObject:
        """Keep a new object. Raises ApiError 409 when the name is taken."""
        item = copy.deepcopy(item)
        metadata = item["metadata"]
        if self.find(resource, metadata.get("namespace") or "", metadata["name"]) is not None:
            raise errors.already_exists(resource, metadata["name"])
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = now_text()
        if "spec" in item:
            metadata["generation"] = 1
        return self._record(Change.ADDED, resource, item, None)

    def replace(self, resource: Resource, item: KubeObject) -> KubeObject:
        """Keep a new state of an object; the same state changes nothing.

        A resource version in ``item`` must be the present one: ApiError 409.
        """
        item = copy.deepcopy(item)
        metadata = item["metadata"]
        before = self.get(resource, metadata.get("namespace") or "", metadata["name"])
        held = before["metadata"]
        if metadata.get("resourceVersion") not in (None, "", held["resourceVersion"]):
            raise errors.conflict(resource, metadata["name"])
        if metadata.get("uid") not in (None, held["uid"]):
            raise errors.conflict(resource, metadata["name"])
        for field in ("uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp"):
            metadata.pop(field, None)
            if field in held:
                metadata[field] = held[field]
        if item == before:
            return before
        if "generation" in metadata and _wanted(item) != _wanted(before):
            metadata["generation"] += 1
        return self._record(Change.MODIFIED, resource, item, before)

    def edit(self, resource: Resource, item: KubeObject, change: Callable[[KubeObject], None]) -> KubeObject | None:
        """Change the present state of an object in place; None when it is gone or was recreated."""
        present = self.find(resource, *key_of(item))
        if present is None or present["metadata"]["uid"] != item["metadata"]["uid"]:
            return None
        edited = copy.deepcopy(present)
        change(edited)
        return self.replace(resource, edited)

    def set_status(self, resource: Resource, item: KubeObject, status: KubeObject) -> None:
        """Set an object's status; no effect when the object is gone."""
        self.edit(resource, item, lambda edited: edited.update(status=status))

    def delete(self, resource: Resource, namespace: str, name: str, *, grace_s: int | None = None) -> KubeObject:
        """Remove an object, or, when it must be ended first (pods, namespaces), mark it for deletion."""
        item = self.get(resource, namespace, name)
        if resource is not PODS and resource.kind != "Namespace":
            return self.remove(resource, item)
        if resource is PODS and grace_s is None:
            grace_s = int(item["spec"].get("terminationGracePeriodSeconds", 30))
        held = item["metadata"].get("deletionGracePeriodSeconds")
        if "deletionTimestamp" in item["metadata"] and (grace_s is None or held is None or grace_s >= held):
            return item
        edited = copy.deepcopy(item)
        edited["metadata"].setdefault("deletionTimestamp", now_text())
        if grace_s is not None:
            edited["metadata"]["deletionGracePeriodSeconds"] = grace_s
        return self._record(Change.MODIFIED, resource, edited, item)

    def remove(self, resource: Resource, item: KubeObject) -> KubeObject:
        """Remove an object at once; no effect when it is gone."""
        present = self.find(resource, *key_of(item))
        if present is None or present["metadata"]["uid"] != item["metadata"]["uid"]:
            return item
        return self._record(Change.DELETED, resource, copy.deepcopy(present), present)

    def changes_after(self, version: int) -> tuple[StoredChange, ...]:
        """Return every change after a version, in order. Raises ApiError 410 when some are no longer kept."""
        oldest = self._version - len(self._history)
        if not oldest <= version <= self._version:
            raise errors.expired(version, oldest)
        return tuple(itertools.islice(self._history, version - oldest, None))

    async def wait(self, version: int) -> None:
        """Return when there are changes after ``version``."""
        while self._version <= version:
            await self._changed.wait()

    def _record(self, change: Change, resource: Resource, item: KubeObject, before: KubeObject | None) -> KubeObject:
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        if change is Change.DELETED:
            del self._objects[resource][key_of(item)]
        else:
            self._objects.setdefault(resource, {})[key_of(item)] = item
        self._history.append(StoredChange(self._version, change, resource, item, before))
        self._changed.set()
        self._changed = asyncio.Event()
        return item


def _wanted(item: KubeObject) -> KubeObject:
    return {key: value for key, value in item.items() if key not in ("metadata", "status")}
