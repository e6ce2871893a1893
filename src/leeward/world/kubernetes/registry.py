"""What may be written: kinds, names, namespaces, and who owns which part of an object.

Between the HTTP server and the store; manifests come in through here too.
"""

import base64
import copy
import random
import re
from typing import Any

from leeward.ports.cluster import (
    BUILT_IN,
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    MULTI_CLUSTER_SERVICES,
    NAMESPACES,
    NODES,
    REPLICA_SETS,
    SECRETS,
    STATEFUL_SETS,
    KubeObject,
    Resource,
)
from leeward.world.kubernetes import errors, shapes
from leeward.world.kubernetes.merging import apply_fields, merge_patch
from leeward.world.kubernetes.selectors import matches_selector
from leeward.world.kubernetes.store import Key, Store, key_of

FIRST_NAMESPACES = ("default", "kube-system")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.:-]{0,251}[a-z0-9])?")
# The server's part of the metadata; what a request has there is only checked for conflicts.
_OF_THE_SERVER = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "managedFields", "selfLink")
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def random_suffix(length: int = 5) -> str:
    """Return letters for a generated name, without vowels, so that they never spell a word."""
    return "".join(random.choices(_SUFFIX_ALPHABET, k=length))


class Registry:
    """Admits changes to a store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._applied: dict[tuple[Resource, Key, str], KubeObject] = {}
        for name in FIRST_NAMESPACES:
            self.create(NAMESPACES, "", {"metadata": {"name": name}})

    def resources(self) -> tuple[Resource, ...]:
        """Return every kind that is served: the built-in ones and those of custom resource definitions."""
        custom = tuple(
            Resource(
                item["spec"]["group"],
                version["name"],
                item["spec"]["names"]["plural"],
                item["spec"]["names"]["kind"],
                namespaced=item["spec"]["scope"] == "Namespaced",
            )
            for item in self.store.list(CUSTOM_RESOURCE_DEFINITIONS)
            for version in item["spec"]["versions"]
            if version.get("served", True)
        )
        return BUILT_IN + MULTI_CLUSTER_SERVICES + custom

    def resource(self, group: str, version: str, plural: str) -> Resource:
        """Return the kind that a path names. Raises ApiError 404."""
        for resource in self.resources():
            if (resource.group, resource.version, resource.plural) == (group, version, plural):
                return resource
        raise errors.ApiError(404, "NotFound", "the server could not find the requested resource")

    def resource_of(self, item: KubeObject) -> Resource:
        """Return the kind of an object by its ``apiVersion`` and ``kind``. Raises ApiError 404."""
        for resource in self.resources():
            if (resource.api_version, resource.kind) == (item.get("apiVersion"), item.get("kind")):
                return resource
        what = f"{item.get('kind')} in {item.get('apiVersion')}"
        raise errors.ApiError(404, "NotFound", f"the server does not know the kind {what}")

    def create(self, resource: Resource, namespace: str, item: KubeObject) -> KubeObject:
        """Create an object. Raises ApiError."""
        item = self._admit(resource, namespace, item)
        metadata = item["metadata"]
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + random_suffix()
        self._check(resource, item)
        metadata.pop("resourceVersion", None)
        # A node has no kubelet to write its status, so the status is taken from the request.
        if resource is not NODES:
            item.pop("status", None)
        return self.store.create(resource, item)

    def replace(
        self, resource: Resource, namespace: str, name: str, item: KubeObject, *, subresource: str = ""
    ) -> KubeObject:
        """Replace an object, or only its status. Raises ApiError."""
        item = self._admit(resource, namespace, item, name)
        present = self.store.get(resource, namespace, name)
        if subresource == "status":
            changed = {**present, "status": item.get("status", {})}
            changed["metadata"] = {**present["metadata"]}
            if "resourceVersion" in item["metadata"]:
                changed["metadata"]["resourceVersion"] = item["metadata"]["resourceVersion"]
            self._check(resource, changed)
            return self.store.replace(resource, changed)
        self._check(resource, item)
        item.pop("status", None)
        if "status" in present:
            item["status"] = present["status"]
        return self.store.replace(resource, item)

    def patch(self, resource: Resource, namespace: str, name: str, patch: Any, *, subresource: str = "") -> KubeObject:
        """Apply a merge patch. Raises ApiError."""
        if not isinstance(patch, dict) or not isinstance(patch.get("metadata", {}), dict):
            raise errors.bad_request("a merge patch is a JSON object; so is its metadata")
        present = self.store.get(resource, namespace, name)
        item = merge_patch(copy.deepcopy(present), patch)
        if "resourceVersion" not in patch.get("metadata", {}):
            item["metadata"].pop("resourceVersion", None)
        return self.replace(resource, namespace, name, item, subresource=subresource)

    def apply(self, resource: Resource, namespace: str, name: str, item: KubeObject, *, manager: str) -> KubeObject:
        """Create the object, or make the fields in ``item`` so (server-side apply, always forced)."""
        wanted = self._admit(resource, namespace, item, name)
        wanted.pop("status", None)
        version = wanted["metadata"].pop("resourceVersion", None)
        mark = (resource, key_of(wanted), manager)
        present = self.store.find(resource, namespace, name)
        if present is None:
            if version:
                raise errors.conflict(resource, name)
            created = self.create(resource, namespace, item if resource is NODES else copy.deepcopy(wanted))
            self._applied[mark] = wanted
            return created
        merged = apply_fields(present, self._applied.get(mark, {}), wanted)
        if version is None:
            merged["metadata"].pop("resourceVersion", None)
        else:
            merged["metadata"]["resourceVersion"] = version
        self._check(resource, merged)
        result = self.store.replace(resource, merged)
        self._applied[mark] = wanted
        return result

    def apply_manifest(self, item: KubeObject, *, manager: str) -> KubeObject:
        """Apply an object by its own kind, name and namespace. Raises ApiError."""
        resource = self.resource_of(item)
        metadata = item.get("metadata") or {}
        namespace = (metadata.get("namespace") or "default") if resource.namespaced else ""
        return self.apply(resource, namespace, metadata.get("name", ""), item, manager=manager)

    def delete(self, resource: Resource, namespace: str, name: str, *, grace_s: int | None = None) -> KubeObject:
        """Delete an object; what it owns follows (``controllers.garbage``). Raises ApiError 404."""
        deleted = self.store.delete(resource, namespace, name, grace_s=grace_s)
        for mark in [mark for mark in self._applied if mark[:2] == (resource, key_of(deleted))]:
            del self._applied[mark]
        return deleted

    def _admit(self, resource: Resource, namespace: str, item: Any, name: str = "") -> KubeObject:
        """Return a copy of what came in, as the server keeps it."""
        if not isinstance(item, dict) or not isinstance(item.get("metadata", {}), dict):
            raise errors.bad_request("an object with metadata is needed")
        because = shapes.wrong_parts(resource, item)
        if because is not None:
            raise errors.bad_request(because)
        for field, right in (("apiVersion", resource.api_version), ("kind", resource.kind)):
            if item.get(field, right) != right:
                raise errors.bad_request(f"{field} is {item[field]!r}; the path requires {right!r}")
        result: KubeObject = {"apiVersion": resource.api_version, "kind": resource.kind}
        result.update(copy.deepcopy(item))
        metadata: KubeObject = result.setdefault("metadata", {})
        for field in _OF_THE_SERVER:
            metadata.pop(field, None)
        for field, right in (("name", name), ("namespace", namespace)):
            if right and metadata.get(field, right) != right:
                raise errors.bad_request(f"metadata.{field} is {metadata[field]!r}; the path has {right!r}")
            if right:
                metadata[field] = right
        if not resource.namespaced:
            metadata.pop("namespace", None)
        if resource is SECRETS:
            for key, text in result.pop("stringData", {}).items():
                result.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()
        return result

    def _check(self, resource: Resource, item: KubeObject) -> None:
        name = item["metadata"].get("name") or ""
        if not _NAME.fullmatch(name):
            raise errors.invalid(resource, name, "metadata.name must be a lower-case DNS name")
        because = shapes.wrong(resource, item)
        if because is not None:
            raise errors.invalid(resource, name, because)
        namespace = item["metadata"].get("namespace", "")
        if resource.namespaced and self.store.find(NAMESPACES, "", namespace) is None:
            raise errors.not_found(NAMESPACES, namespace)
        if resource in (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS):
            spec = item["spec"]
            labels = (spec["template"].get("metadata") or {}).get("labels") or {}
            if not spec["selector"] or not matches_selector(spec["selector"], labels):
                raise errors.invalid(resource, name, "spec.selector does not match the template's labels")
