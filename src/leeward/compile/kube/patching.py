"""Change objects as ``kubectl patch`` and kustomize do: strategic merges and JSON patches (RFC 6902), purely.

A strategic merge treats lists by what they are lists of: containers, variables and volumes merge by name, ports by
number, mounts by path; all others are replaced. Custom resources
have no such knowledge: their lists are replaced, as a JSON merge patch (RFC 7386) does.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import jsonpatch

from leeward.compile.kube.objects import KubeObject

# By the list's field; the elements' own keys decide where two are possible, as in the API's types.
MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey",),
    "secrets": ("name",),
    "ownerReferences": ("uid",),
    "ports": ("containerPort", "port"),
    "conditions": ("type",),
}
BUILT_IN_GROUPS = ("", "apps", "batch", "autoscaling", "policy", "networking.k8s.io", "rbac.authorization.k8s.io")
ATOMIC_KINDS = ("NetworkPolicy",)


class PatchError(Exception):
    """A patch cannot be applied to this object; the text states where and why."""


def is_built_in(item: Mapping[str, Any]) -> bool:
    """Return whether Kubernetes itself knows an object's lists."""
    group, slash, _ = item["apiVersion"].partition("/")
    return (group if slash else "") in BUILT_IN_GROUPS


def strategic_merge(item: KubeObject, change: Mapping[str, Any]) -> KubeObject:
    """Return the object with the change merged in."""
    strategic = is_built_in(item) and item["kind"] not in ATOMIC_KINDS
    merged = _merge(item, change, strategic)
    assert isinstance(merged, dict)
    return merged


def json_patch(item: KubeObject, operations: Sequence[Mapping[str, Any]]) -> KubeObject:
    """Return the object after the operations, in order. Raises PatchError."""
    result: Any = copy.deepcopy(item)
    for operation in operations:
        path = operation["path"]
        try:
            result = jsonpatch.JsonPatch([copy.deepcopy(dict(operation))]).apply(result, in_place=True)
        except jsonpatch.JsonPatchTestFailed as error:
            raise PatchError(f"{path} is not {operation.get('value')!r}") from error
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
            raise PatchError(f"{operation.get('from', path)} does not exist") from error
    assert isinstance(result, dict)
    return result


def _merge(old: Any, new: Any, strategic: bool) -> Any:
    if not isinstance(new, Mapping):
        return copy.deepcopy(new)
    directive = new.get("$patch")
    if directive == "replace":
        return {key: copy.deepcopy(value) for key, value in new.items() if key != "$patch"}
    result = dict(old) if isinstance(old, Mapping) else {}
    for key, value in new.items():
        if key == "$patch":
            continue
        if value is None or (isinstance(value, Mapping) and value.get("$patch") == "delete"):
            result.pop(key, None)
        elif isinstance(value, list) and strategic:
            result[key] = _merge_list(key, result.get(key), value)
        else:
            result[key] = _merge(result.get(key), value, strategic)
    return result


def _merge_list(field: str, old: Any, new: list[Any]) -> list[Any]:
    key = _merge_key(field, new)
    if key is None or any(isinstance(each, Mapping) and each == {"$patch": "replace"} for each in new):
        return [copy.deepcopy(each) for each in new if each != {"$patch": "replace"}]
    left = [dict(each) for each in old or () if isinstance(each, Mapping)]
    named: list[Any] = []
    for element in new:
        found = next((each for each in left if each.get(key) == element.get(key)), None)
        left = [each for each in left if each.get(key) != element.get(key)]
        if element.get("$patch") != "delete":
            named.append(_merge(found or {}, element, True))
    # What a patch names comes first, in the patch's order: as kustomize has it.
    return [*named, *left]


def _merge_key(field: str, elements: list[Any]) -> str | None:
    if not all(isinstance(each, Mapping) for each in elements):
        return None
    for key in MERGE_KEYS.get(field, ()):
        if all(key in each or each == {"$patch": "replace"} for each in elements):
            return key
    return None
