"""The reference page of the two kinds, written from the models: docs/reference/spec.md."""

import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any

from pydantic.fields import FieldInfo

from leeward.base.units import duration_text
from leeward.spec.schema import KINDS
from leeward.spec.validate import models_in
from leeward.spec.values import Model, Quantity

HEADER = """\
# The files you write

Two kinds of YAML documents, `apiVersion: leeward.dev/v1alpha1`, in one file or in several of a directory.
Durations have a unit: `500ms`, `5s`, `2m`. Amounts are written as in Kubernetes: `250m`, `512Mi`. Unknown keys
are errors. `leeward schema` prints the same as JSON Schema. This page is generated from the models:
`pytest tests/spec/test_reference.py --rewrite`.
"""


def reference() -> str:
    """Return the page as Markdown: one table per kind, nested keys with dots."""
    sections = [HEADER]
    for kind, model in KINDS.items():
        rows = "\n".join(_rows(model, ""))
        sections.append(
            f"## {kind}\n\n{model.__doc__}\n\n| Key | Type | Default | Meaning |\n|---|---|---|---|\n{rows}\n"
        )
    return "\n".join(sections)


def _rows(model: type[Model], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        inner = models_in(field.annotation)
        repeated = typing.get_origin(_without_none(field.annotation)) is tuple
        if inner and not (field.description or field.is_required() or repeated):
            yield from _rows(inner[0], f"{key}.")
            continue
        kind = "list" if repeated and inner else "mapping" if inner else _type(field)
        meaning = (field.description or (inner[0].__doc__ if inner else "") or "").replace("\n", " ").replace("``", "`")
        yield f"| `{key}` | {kind} | {_default(field)} | {meaning} |"
        for each in inner:
            yield from _rows(each, f"{key}[]." if repeated else f"{key}.")


def _type(field: FieldInfo) -> str:
    annotation = _without_none(field.annotation)
    origin = typing.get_origin(annotation)
    if origin is tuple:
        return "list of whole numbers" if _holds_int(annotation) else "list of text"
    if origin is dict:
        return "mapping" if typing.get_args(annotation)[1] is Any else "mapping of text"
    if annotation is Any:
        return "anything"
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(f"`{member.value}`" for member in annotation)
    if annotation is float:
        return "duration" if _is_duration(field) else "number"
    return {str: "text", int: "whole number", bool: "true or false", Quantity: "amount"}[annotation]


def _holds_int(annotation: Any) -> bool:
    return _without_none(typing.get_args(annotation)[0]) is int


def _is_duration(field: FieldInfo) -> bool:
    return "parse_duration_s" in repr(field.metadata) or "parse_duration_s" in repr(field.annotation)


def _without_none(annotation: Any) -> Any:
    """Return what an optional or annotated type holds."""
    arguments = [each for each in typing.get_args(annotation) if each is not type(None)]
    if typing.get_origin(annotation) is typing.Annotated:
        return _without_none(arguments[0])
    if type(None) in typing.get_args(annotation):
        return _without_none(arguments[0])
    return annotation


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ((), {}) or isinstance(value, Model):
        return "-"
    if isinstance(value, float) and value.is_integer() and not _is_duration(field):
        value = int(value)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{duration_text(value) if isinstance(value, float) and _is_duration(field) else value}`"
