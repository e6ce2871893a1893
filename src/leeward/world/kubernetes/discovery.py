"""The API server's discovery documents: groups, versions and kinds, enough for kubectl-like clients."""

from leeward.ports.cluster import KubeObject, Resource
from leeward.world.kubernetes.registry import Registry

VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
# kubectl compares itself with this; the objects here are those of that release.
VERSION = {"major": "1", "minor": "33", "gitVersion": "v1.33.0-leeward", "platform": "linux/amd64"}


def describe(registry: Registry, parts: list[str]) -> KubeObject | None:
    """Return the discovery document at a path given in parts, or None for an unknown path."""
    match parts:
        case ["version"]:
            return dict(VERSION)
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            groups = dict.fromkeys(row.group for row in registry.resources() if row.group)
            return {
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": [_group(registry, group) for group in groups],
            }
        case ["apis", group] if any(row.group == group for row in registry.resources()):
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(registry, group)}
        case ["api", version]:
            return _resource_list(registry, "", version)
        case ["apis", group, version]:
            return _resource_list(registry, group, version)
        case _:
            return None


def _group(registry: Registry, group: str) -> KubeObject:
    versions = [
        {"groupVersion": f"{group}/{version}", "version": version}
        for version in dict.fromkeys(row.version for row in registry.resources() if row.group == group)
    ]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _resource_list(registry: Registry, group: str, version: str) -> KubeObject | None:
    rows = [row for row in registry.resources() if (row.group, row.version) == (group, version)]
    if not rows:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": rows[0].api_version,
        "resources": [entry for row in rows for entry in _entries(row)],
    }


def _entries(row: Resource) -> list[KubeObject]:
    common = {"singularName": row.kind.lower(), "namespaced": row.namespaced, "kind": row.kind}
    entries = [
        {"name": row.plural, **common, "verbs": VERBS},
        {"name": f"{row.plural}/status", **common, "verbs": ["patch", "update"]},
    ]
    if row.kind == "Pod":
        entries.append({"name": "pods/log", **common, "verbs": ["get"]})
        eviction = {"kind": "Eviction", "group": "policy", "version": "v1", "verbs": ["create"]}
        entries.append({**common, "name": "pods/eviction", **eviction})
    return entries
