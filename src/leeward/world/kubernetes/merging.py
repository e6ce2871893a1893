"""How a change is merged into an object: JSON merge patch, and server-side apply.

Lists are one value: whoever sets a list sets all of it. (Real API servers merge some lists by key.)
"""

from typing import Any

from leeward.ports.cluster import KubeObject


def merge_patch(value: Any, patch: Any) -> Any:
    """Return ``value`` with an RFC 7386 merge patch applied."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for key, change in patch.items():
        if change is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), change)
    return result


def apply_fields(live: KubeObject, last: KubeObject, wanted: KubeObject) -> KubeObject:
    """Return ``live`` with the wanted fields set, and those of the ``last`` apply removed that are no longer wanted.

    Everything else, set by controllers or other managers, stays.
    """
    result = dict(live)
    for key, value in last.items():
        if key in wanted or key not in result:
            continue
        if isinstance(value, dict) and isinstance(result[key], dict):
            rest = apply_fields(result[key], value, {})
            if rest:
                result[key] = rest
                continue
        del result[key]
    for key, value in wanted.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            before = last.get(key)
            result[key] = apply_fields(result[key], before if isinstance(before, dict) else {}, value)
        else:
            result[key] = value
    return result
