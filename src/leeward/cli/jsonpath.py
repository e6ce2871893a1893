"""The part of kubectl's JSONPath that picks values: keys, ``[0]``, ``[-1]``, ``[*]``, ``['a.b']``, texts. Pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

_PIECE = re.compile(r"\{([^{}]*)\}|([^{}]+)")
_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\.?\[\s*(-?\d+|\*|'[^']*'|\"[^\"]*\")\s*\]|\.(\*)")


class JsonPathError(ValueError):
    """The template is invalid, or uses more than picking values."""


Step = str | int | None
"""A key, an index, or everything."""


def parse(template: str) -> tuple[str | tuple[Step, ...], ...]:
    """Return the template's literal texts and paths. Raises JsonPathError."""
    braced = template if "{" in template else f"{{{template}}}"
    pieces: list[str | tuple[Step, ...]] = []
    at = 0
    for found in _PIECE.finditer(braced):
        if found.start() != at:
            break
        at = found.end()
        pieces.append(found[2] if found[1] is None else _expression(found[1].strip()))
    if at != len(braced):
        raise JsonPathError(f"unclosed brace in {template!r}")
    return tuple(pieces)


def render(template: str, document: object) -> str:
    """Return the template with its values; missing ones are empty. Raises JsonPathError."""
    return "".join(
        piece if isinstance(piece, str) else " ".join(_text(value) for value in _pick(document, piece))
        for piece in parse(template)
    )


def _expression(text: str) -> str | tuple[Step, ...]:
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text))
        except ValueError as error:
            raise JsonPathError(f"{text} is not a valid quoted string") from error
    path = text.removeprefix("$")
    steps: list[Step] = []
    at = 0
    while at < len(path) and path != ".":
        found = _STEP.match(path, at)
        if found is None:
            raise JsonPathError(f"{text!r} is not a valid path at {path[at:]!r}; expected keys, [N] or [*]")
        at = found.end()
        word = found[1] or found[2] or found[3]
        steps.append(_step(word) if found[2] else None if word == "*" else word)
    return tuple(steps)


def _step(word: str) -> Step:
    if word == "*":
        return None
    return word[1:-1] if word[0] in "'\"" else int(word)


def _pick(value: object, steps: tuple[Step, ...]) -> Iterator[object]:
    if not steps:
        yield value
        return
    step, rest = steps[0], steps[1:]
    if isinstance(value, Mapping):
        if step is None:
            chosen = list(value.values())
        else:
            chosen = [value[step]] if step in value else []
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if step is None:
            chosen = list(value)
        else:
            chosen = [value[step]] if isinstance(step, int) and -len(value) <= step < len(value) else []
    else:
        chosen = []
    for each in chosen:
        yield from _pick(each, rest)


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
