"""The protocol's values as JSON and back: one reversible, stable form for store, wire and logs."""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


class DecodeError(Exception):
    """The text is not a value of that type."""


def encode(value: object) -> str:
    """Return compact JSON with every key present, null included."""
    return json.dumps(plain(value), separators=(",", ":"))


def plain(value: object) -> Any:
    """Return the value as dictionaries, lists and scalars."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, StrEnum):
        return str(value)
    return value


def decode(kind: type[T], text: str | bytes) -> T:
    """Return the value written by ``encode``. Raises DecodeError."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise DecodeError(f"not JSON: {error}") from error
    return from_plain(kind, raw)


def from_plain(kind: type[T], raw: Any) -> T:
    """Return the value ``plain`` wrote. Unknown keys (of a newer writer) are ignored. Raises DecodeError."""
    try:
        return typing.cast("T", _build(kind, raw))
    except (KeyError, TypeError, ValueError) as error:
        raise DecodeError(f"not a {kind.__name__}: {error!r}") from error


@cache
def _fields(kind: type) -> tuple[tuple[str, Any, bool], ...]:
    hints = typing.get_type_hints(kind)
    return tuple(
        (
            field.name,
            hints[field.name],
            field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
    )


def _build(kind: Any, raw: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        if raw is None:
            return None
        (inner,) = (option for option in typing.get_args(kind) if option is not type(None))
        return _build(inner, raw)
    if origin is tuple:
        return tuple(_build(typing.get_args(kind)[0], item) for item in raw)
    if origin is not None and issubclass(origin, Mapping):
        return {key: _build(typing.get_args(kind)[1], item) for key, item in raw.items()}
    if isinstance(kind, typing.NewType):
        return _build(kind.__supertype__, raw)
    if dataclasses.is_dataclass(kind):
        given = {
            name: _build(hint, raw[name])
            for name, hint, optional in _fields(typing.cast("type", kind))
            if name in raw or not optional
        }
        return typing.cast("type", kind)(**given)
    if issubclass(kind, StrEnum):
        return kind(raw)
    if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    if not isinstance(raw, kind):
        raise TypeError(f"{raw!r} is not {kind.__name__}")
    return raw
