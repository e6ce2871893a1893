"""Answers as text: tables in kubectl's manner, facts, YAML."""

import json
from collections.abc import Iterable, Mapping, Sequence

API_VERSION = "leeward.dev/v1alpha1"
NOTHING = "-"
_GAP = "   "


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return columns aligned to the left, three spaces apart, without trailing blanks."""
    lines = [tuple(map(str, head)), *(tuple(map(_cell, row)) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Return ``name:  value`` lines, the values aligned."""
    listed = [(name, _cell(value)) for name, value in pairs]
    width = max((len(name) for name, _ in listed), default=0) + 1
    return "\n".join(f"{name + ':':<{width}}  {value}".rstrip() for name, value in listed)


def as_yaml(document: Mapping[str, object]) -> str:
    """Return YAML in the order of the keys, of the values that JSON has."""
    import yaml

    return yaml.safe_dump(json.loads(json.dumps(document)), sort_keys=False, allow_unicode=True)


def _cell(value: object) -> str:
    return NOTHING if value is None or value == "" else str(value)
