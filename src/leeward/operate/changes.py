"""How one object differs from another, field by field. Pure. Values of secrets are never part of it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SERVER_SET = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
"""Metadata that the server itself sets."""
FOREIGN_ANNOTATIONS = ("argocd.argoproj.io/tracking-id", "kubectl.kubernetes.io/last-applied-configuration")
"""Annotations that other tools maintain."""
HIDDEN = "(not shown)"
ABSENT = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One field."""

    path: str
    old: Any
    """ABSENT: added."""
    new: Any
    """ABSENT: removed."""


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return the fields that differ between two states of an object, apart from what only the server sets."""
    secret = new.get("kind") == "Secret"
    found = list(_between(_wanted(old), _wanted(new), ""))
    if not secret:
        return found
    return [each if each.path.startswith(("metadata.labels", "type")) else _redacted(each) for each in found]


def _wanted(item: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in item["metadata"].items() if key not in SERVER_SET}
    annotations = {
        key: value for key, value in metadata.pop("annotations", {}).items() if key not in FOREIGN_ANNOTATIONS
    }
    kept = {key: value for key, value in item.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    return {"metadata": {**metadata, **({"annotations": annotations} if annotations else {})}, **kept}


def _between(old: Any, new: Any, path: str) -> Iterator[Change]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*new, *(key for key in old if key not in new)]:
            yield from _between(old.get(key, ABSENT), new.get(key, ABSENT), _joined(path, key))
    elif isinstance(old, list) and isinstance(new, list):
        yield from _between_lists(old, new, path)
    elif isinstance(old, str) and isinstance(new, str) and old != new:
        before, after = _document(old), _document(new)
        if before is not None and after is not None and before != after:
            yield from _between(before, after, f"{path}:")
        else:
            yield Change(path, old, new)
    elif old != new or type(old) is not type(new):
        yield Change(path, old, new)


def _between_lists(old: list[Any], new: list[Any], path: str) -> Iterator[Change]:
    before, after = _by_name(old), _by_name(new)
    if before is not None and after is not None:
        if list(before) != list(after) and before.keys() == after.keys():
            yield Change(f"{path}, their order", list(before), list(after))
        for name in [*after, *(name for name in before if name not in after)]:
            yield from _between(before.get(name, ABSENT), after.get(name, ABSENT), f"{path}[{name}]")
    else:
        for index in range(max(len(old), len(new))):
            one = old[index] if index < len(old) else ABSENT
            other = new[index] if index < len(new) else ABSENT
            yield from _between(one, other, f"{path}[{index}]")


def _by_name(elements: list[Any]) -> dict[str, Any] | None:
    """Return elements by their names; None where they have none, or one twice."""
    if not all(isinstance(each, Mapping) and isinstance(each.get("name"), str) for each in elements):
        return None
    named = {each["name"]: each for each in elements}
    return named if len(named) == len(elements) else None


def _document(text: str) -> Any:
    """Return the JSON object or list that a text is; None for other text."""
    if not text.startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _redacted(change: Change) -> Change:
    old, new = (each if each is ABSENT else HIDDEN for each in (change.old, change.new))
    return Change(change.path, old, new)


def _joined(path: str, key: str) -> str:
    step = f"[{key}]" if "." in key or "/" in key else key
    return f"{path}{step}" if not path or path.endswith(":") or step.startswith("[") else f"{path}.{step}"
