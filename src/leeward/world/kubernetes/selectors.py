"""Label and field selectors: which objects a request, a Service or a controller means."""

import re
from collections.abc import Mapping
from typing import Any

from leeward.ports.cluster import KubeObject
from leeward.world.kubernetes import errors

_SET = re.compile(r"(?P<key>\S+)\s+(?P<verb>in|notin)\s*\((?P<values>[^)]*)\)")
_EQUALITY = re.compile(r"(?P<key>[^=!\s]+)\s*(?P<verb>==|=|!=)\s*(?P<value>\S*)")
_OUTSIDE_PARENTHESES = re.compile(r",(?![^(]*\))")


def labels_of(item: KubeObject) -> Mapping[str, str]:
    """Return an object's labels."""
    return item["metadata"].get("labels") or {}


def matches_selector(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a ``LabelSelector`` of an object (matchLabels, matchExpressions) takes these labels."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for rule in selector.get("matchExpressions") or ():
        present, value = rule["key"] in labels, labels.get(rule["key"])
        match rule["operator"]:
            case "In":
                holds = value in rule.get("values", ())
            case "NotIn":
                holds = value not in rule.get("values", ())
            case "Exists":
                holds = present
            case _:
                holds = not present
        if not holds:
            return False
    return True


def matches_labels(text: str, item: KubeObject) -> bool:
    """Return whether a label selector as written in a request takes the object. Raises ApiError 400."""
    labels = labels_of(item)
    return all(_term(term.strip(), labels) for term in _OUTSIDE_PARENTHESES.split(text) if term.strip())


def _term(term: str, labels: Mapping[str, str]) -> bool:
    if found := _SET.fullmatch(term):
        values = {value.strip() for value in found["values"].split(",")}
        return (labels.get(found["key"]) in values) == (found["verb"] == "in")
    if found := _EQUALITY.fullmatch(term):
        return (labels.get(found["key"]) == found["value"]) == (found["verb"] != "!=")
    if re.fullmatch(r"!?[\w./-]+", term):
        return (term.lstrip("!") in labels) != term.startswith("!")
    raise errors.bad_request(f"unable to parse the label selector {term!r}")


def matches_fields(text: str, item: KubeObject) -> bool:
    """Return whether a field selector (``metadata.name=x,spec.nodeName!=y``) takes the object. ApiError 400."""
    for term in filter(None, text.split(",")):
        found = _EQUALITY.fullmatch(term.strip())
        if found is None:
            raise errors.bad_request(f"unable to parse the field selector {term!r}")
        value: Any = item
        for part in found["key"].split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if (str(value or "") == found["value"]) != (found["verb"] != "!="):
            return False
    return True
