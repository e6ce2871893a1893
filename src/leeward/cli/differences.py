"""Changed fields as text. Pure."""

import json
from collections.abc import Iterator
from difflib import unified_diff
from typing import Any

from leeward.operate.changes import ABSENT, Change

LINE_MAX = 100


def text_of(change: Change) -> Iterator[str]:
    """Yield a change's lines: one where it fits, else those of the text that differ."""
    if isinstance(change.old, str) and isinstance(change.new, str) and "\n" in change.old + change.new:
        yield f"{change.path}:"
        _, _, *lines = unified_diff(change.old.splitlines(), change.new.splitlines(), lineterm="", n=1)
        yield from (f"  {line}" for line in lines)
        return
    old, new = _shown(change.old), _shown(change.new)
    if len(change.path) + len(old) + len(new) < LINE_MAX:
        yield f"{change.path}: {old} -> {new}"
    else:
        yield f"{change.path}:"
        yield f"  - {old}"
        yield f"  + {new}"


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "(none)"
    return value if isinstance(value, str) and value and value == value.strip() else json.dumps(value)
