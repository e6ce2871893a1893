"""What an object must look like where this cluster reads it: invalid objects are refused when they are written.

Not a copy of Kubernetes' schemas: what only real clusters read is kept as it is.
"""

import re
from collections.abc import Callable
from typing import Any

from leeward.ports.cluster import (
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
    KubeObject,
    Resource,
)

Shape = Callable[[Any, str], str | None]
"""Takes a value and the name of its place; returns what is wrong with it, or None."""

_PERCENT = re.compile(r"[0-9]{1,3}%")
_WHOLE_MAX = 2**31


def _text(value: Any, at: str) -> str | None:
    if not isinstance(value, str):
        return f"{at} must be a string"
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"{at} must be UTF-8"
    return None


def _whole(value: Any, at: str) -> str | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _WHOLE_MAX
    return None if fits else f"{at} must be a whole number from 0 to {_WHOLE_MAX - 1}"


def _flag(value: Any, at: str) -> str | None:
    return None if isinstance(value, bool) else f"{at} must be true or false"


def _amount(value: Any, at: str) -> str | None:
    if isinstance(value, str) and _PERCENT.fullmatch(value):
        return None
    return None if _whole(value, at) is None else f"{at} must be a whole number or a percentage"


def _anything(value: Any, at: str) -> str | None:
    return None


def _or_null(shape: Shape) -> Shape:
    return lambda value, at: None if value is None else shape(value, at)


def _list(shape: Shape) -> Shape:
    def check(value: Any, at: str) -> str | None:
        if not isinstance(value, list):
            return f"{at} must be a list"
        return next(filter(None, (shape(each, f"{at}[{index}]") for index, each in enumerate(value))), None)

    return check


def _mapping(shape: Shape) -> Shape:
    def check(value: Any, at: str) -> str | None:
        if not isinstance(value, dict):
            return f"{at} must be an object"
        found = (_text(key, at) or shape(each, f"{at}.{key}") for key, each in value.items())
        return next(filter(None, found), None)

    return check


def _fields(required: dict[str, Shape], optional: dict[str, Shape] | None = None) -> Shape:
    known = {**required, **(optional or {})}

    def check(value: Any, at: str) -> str | None:
        if not isinstance(value, dict):
            return f"{at} must be an object"
        missing = next((key for key in required if key not in value), None)
        if missing is not None:
            return f"{at}.{missing} is required"
        found = (shape(value[key], f"{at}.{key}") for key, shape in known.items() if key in value)
        return next(filter(None, found), None)

    return check


_TEXTS = _or_null(_mapping(_text))
_OWNERS = _or_null(_list(_fields({"kind": _text, "name": _text, "uid": _text}, {"controller": _flag})))
_METADATA = _fields(
    {},
    {
        **dict.fromkeys(("name", "namespace", "generateName", "resourceVersion", "uid"), _text),
        "labels": _TEXTS,
        "annotations": _TEXTS,
        "ownerReferences": _OWNERS,
        "deletionGracePeriodSeconds": _whole,
    },
)
_TEMPLATE_METADATA = _or_null(_fields({}, {"labels": _TEXTS, "annotations": _TEXTS}))
_RULE = _fields({"key": _text, "operator": _text}, {"values": _list(_text)})
_SELECTOR = _fields({}, {"matchLabels": _TEXTS, "matchExpressions": _or_null(_list(_RULE))})
_CONTAINERS = _list(_fields({"name": _text}, {"image": _text}))
_POD_SPEC = _fields({"containers": _CONTAINERS}, {"terminationGracePeriodSeconds": _whole, "nodeName": _text})
_TEMPLATE = _fields({"spec": _POD_SPEC}, {"metadata": _TEMPLATE_METADATA})
_CONDITION = _fields({"type": _text, "status": _text})
_CONTAINER_STATUS = _fields({"name": _text}, {"state": _mapping(_anything)})
_WORKLOAD = _fields({"selector": _SELECTOR, "template": _TEMPLATE}, {"replicas": _whole})
_VERSION = _fields({"name": _text}, {"served": _flag})
_DEFINITION = _fields(
    {
        "group": _text,
        "names": _fields({"plural": _text, "kind": _text}),
        "scope": _text,
        "versions": _list(_VERSION),
    }
)
_ANY_OBJECT = _mapping(_anything)
_STATUS = _fields({}, {"conditions": _list(_CONDITION), "containerStatuses": _list(_CONTAINER_STATUS), "podIP": _text})
_SPECS: dict[Resource, Shape] = {
    PODS: _POD_SPEC,
    DEPLOYMENTS: _WORKLOAD,
    REPLICA_SETS: _WORKLOAD,
    STATEFUL_SETS: _WORKLOAD,
    CUSTOM_RESOURCE_DEFINITIONS: _DEFINITION,
    POD_DISRUPTION_BUDGETS: _fields(
        {},
        {
            "selector": _SELECTOR,
            "minAvailable": _amount,
            "maxUnavailable": _amount,
            "unhealthyPodEvictionPolicy": _text,
        },
    ),
    SERVICES: _or_null(_fields({}, {"selector": _TEXTS})),
}


def wrong(resource: Resource, item: KubeObject) -> str | None:
    """Return what is wrong with an object of a kind; None if it can be kept."""
    because = _METADATA(item.get("metadata", {}), "metadata")
    if because is None and resource in _SPECS:
        because = _SPECS[resource](item.get("spec"), "spec")
    if because is None and resource is PODS and "status" in item:
        because = _STATUS(item["status"], "status")
    if because is None and "status" in item:
        because = _ANY_OBJECT(item["status"], "status")
    return because


def wrong_parts(resource: Resource, item: KubeObject) -> str | None:
    """Return what is wrong with a part of an object, as it comes in to be merged: only what merging itself reads."""
    because = _METADATA(item.get("metadata", {}), "metadata")
    if because is None and resource is SECRETS:
        for key in ("data", "stringData"):
            because = because or _mapping(_text)(item.get(key, {}), key)
    return because
