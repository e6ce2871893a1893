"""Change objects as ``kubectl patch`` and kustomize do: strategic merges and JSON patches (RFC 6902), purely.

A strategic merge treats lists by what they are lists of: containers, variables and volumes merge by name, ports by
number, mounts by path; all others are replaced. Custom resources
have no such knowledge: their lists are replaced, as a JSON merge patch (RFC 7386) does.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

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
    """A patch cannot be applied to this object; the text says where and why."""


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
        result = _operate(result, operation)
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


def _operate(document: Any, operation: Mapping[str, Any]) -> Any:
    kind, path = operation["op"], operation["path"]
    if kind in ("move", "copy"):
        value = copy.deepcopy(_look(document, operation["from"]))
        if kind == "move":
            document = _change(document, operation["from"], "remove", None)
        return _change(document, path, "add", value)
    if kind == "test":
        if _look(document, path) != operation.get("value"):
            raise PatchError(f"{path} is not {operation.get('value')!r}")
        return document
    return _change(document, path, kind, copy.deepcopy(operation.get("value")))


def _steps(path: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]


def _look(document: Any, path: str) -> Any:
    for step in _steps(path):
        document = _child(document, step, path)
    return document


def _child(parent: Any, step: str, path: str) -> Any:
    if isinstance(parent, list) and step.isdecimal() and int(step) < len(parent):
        return parent[int(step)]
    if isinstance(parent, dict) and step in parent:
        return parent[step]
    raise PatchError(f"there is no {path}")


def _change(document: Any, path: str, kind: str, value: Any) -> Any:
    steps = _steps(path)
    if not steps:
        return value
    parent = document
    for step in steps[:-1]:
        parent = _child(parent, step, path)
    last = steps[-1]
    if isinstance(parent, list):
        _change_list(parent, last, path, kind, value)
    elif isinstance(parent, dict):
        if kind != "add" and last not in parent:
            raise PatchError(f"there is no {path}")
        if kind == "remove":
            del parent[last]
        else:
            parent[last] = value
    else:
        raise PatchError(f"{path} leads into a plain value")
    return document


def _change_list(parent: list[Any], last: str, path: str, kind: str, value: Any) -> None:
    if last == "-" and kind == "add":
        parent.append(value)
        return
    index = int(last) if last.isdecimal() else len(parent) + 1
    if index > len(parent) or (kind != "add" and index == len(parent)):
        raise PatchError(f"there is no {path}")
    if kind == "add":
        parent.insert(index, value)
    elif kind == "remove":
        del parent[index]
    else:
        parent[index] = value
