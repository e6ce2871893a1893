"""The protocol's values as JSON and back: one reversible, stable form for store, wire and logs.

How a type is written and built is worked out once per type and kept as a function; an agent reads every
heartbeat of every region, so this is its hottest path.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache, lru_cache
from operator import attrgetter, itemgetter
from typing import Any, TypeVar

T = TypeVar("T")

WHOLE_MAX = 2**64
"""Whole numbers are smaller, as those of PostgreSQL and etcd are."""


class DecodeError(Exception):
    """The text is not a value of that type."""


def encode(value: object) -> str:
    """Return compact JSON with every key present, null included."""
    return _WRITERS[type(value)](value)


def plain(value: object) -> Any:
    """Return the value as dictionaries, lists and scalars."""
    kind: Any = type(value)
    if kind in _SCALARS:
        return value
    taken_apart = _taker(kind)
    return value if taken_apart is None else taken_apart(value)


def decode(kind: type[T], text: str | bytes) -> T:
    """Return the value written by ``encode``. Raises DecodeError."""
    kept: Any = kind
    found: T = _decoded(kept, text)
    return found


# Several agents in one process, as in the simulator, read the same values; none is ever changed.
@lru_cache(maxsize=256)
def _decoded(kind: Any, text: str | bytes) -> Any:
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise DecodeError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise DecodeError("not JSON: it is nested too deeply") from error
    return from_plain(kind, raw)


def from_plain(kind: type[T], raw: Any) -> T:
    """Return the value ``plain`` wrote. Unknown keys (of a newer writer) are ignored. Raises DecodeError."""
    try:
        return typing.cast("T", _builder(typing.cast("Any", kind))(raw))
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise DecodeError(f"not a {kind.__name__}: {error!r}") from error


_to_text = json.JSONEncoder(separators=(",", ":")).encode
_quoted = json.encoder.encode_basestring_ascii
_SCALARS = frozenset((str, int, float, bool, type(None)))
_Builder = Callable[[Any], Any]
_Writer = Callable[[Any], str]


class _Writers(dict[type, _Writer]):
    """What writes values of a type: the text of ``plain``, without the dictionaries in between."""

    def __missing__(self, kind: type) -> _Writer:
        writer = self[kind] = _writer(kind)
        return writer


def _writer(kind: Any) -> _Writer:
    writers = _WRITERS
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
        form = "{" + ",".join([f"{_quoted(name)}:%s" for name in names]) + "}"
        if len(names) < 2:
            return lambda value: form % tuple([encode(getattr(value, name)) for name in names])
        take_all = attrgetter(*names)
        return lambda value: form % tuple([writers[type(item)](item) for item in take_all(value)])
    if issubclass(kind, Mapping):
        return lambda value: (
            "{" + ",".join([f"{_quoted(str(key))}:{writers[type(item)](item)}" for key, item in value.items()]) + "}"
        )
    if issubclass(kind, (list, tuple)):
        return lambda value: "[" + ",".join([writers[type(item)](item) for item in value]) + "]"
    return _quoted if issubclass(kind, StrEnum) else _to_text


_WRITERS = _Writers(
    {
        str: _quoted,
        int: int.__repr__,
        float: lambda value: repr(value) if math.isfinite(value) else _to_text(value),
        bool: lambda value: "true" if value else "false",
        type(None): lambda value: "null",
    }
)


@cache
def _taker(kind: type) -> Callable[[Any], Any] | None:
    """Return what takes values of a type apart; None for those that JSON has."""
    if dataclasses.is_dataclass(kind):
        names = tuple(field.name for field in dataclasses.fields(kind))
        return lambda value: {name: plain(getattr(value, name)) for name in names}
    if issubclass(kind, Mapping):
        return lambda value: {str(key): plain(item) for key, item in value.items()}
    if issubclass(kind, (list, tuple)):
        return lambda value: [plain(item) for item in value]
    return str if issubclass(kind, StrEnum) else None


@cache
def _builder(kind: Any) -> _Builder:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        (inner,) = (option for option in typing.get_args(kind) if option is not type(None))
        return _optional(_builder(inner))
    if origin is tuple:
        return _sequence(_builder(typing.get_args(kind)[0]))
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(_builder(typing.get_args(kind)[1]))
    if isinstance(kind, typing.NewType):
        return _builder(kind.__supertype__)
    if dataclasses.is_dataclass(kind):
        return _record(typing.cast("type", kind))
    if kind is int:
        return _whole
    return _member(kind) if issubclass(kind, StrEnum) else _scalar(kind)


def _optional(inner: _Builder) -> _Builder:
    return lambda raw: None if raw is None else inner(raw)


def _sequence(inner: _Builder) -> _Builder:
    def build(raw: Any) -> Any:
        if not isinstance(raw, list | tuple):
            raise TypeError(f"{raw!r} is not a list")
        return tuple([inner(item) for item in raw])

    return build


def _mapping(inner: _Builder) -> _Builder:
    return lambda raw: {key: inner(item) for key, item in raw.items()}


def _record(kind: type) -> _Builder:
    hints = typing.get_type_hints(kind)
    fields = tuple(
        (
            field.name,
            _builder(hints[field.name]),
            field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
    )
    builders = tuple(inner for _, inner, _ in fields)
    positional = len(fields) > 1 and not any(field.kw_only for field in dataclasses.fields(kind))
    take_all = itemgetter(*(name for name, _, _ in fields)) if positional else None

    def build(raw: Any) -> Any:
        if take_all is not None and type(raw) is dict:
            try:
                found = take_all(raw)
            except KeyError:
                # An older writer's: what it did not know yet has a default.
                return build_named(raw)
            return kind(*[inner(item) for inner, item in zip(builders, found, strict=True)])
        if type(raw) is not dict and not isinstance(raw, Mapping):
            raise TypeError(f"{raw!r} is not an object")
        return build_named(raw)

    def build_named(raw: Any) -> Any:
        return kind(**{name: inner(raw[name]) for name, inner, optional in fields if name in raw or not optional})

    return build


def _member(kind: type[StrEnum]) -> _Builder:
    members = {member.value: member for member in kind}
    return lambda raw: members[raw] if raw in members else kind(raw)


def _whole(raw: Any) -> Any:
    if not isinstance(raw, int):
        raise TypeError(f"{raw!r} is not int")
    if not -WHOLE_MAX < raw < WHOLE_MAX:
        raise ValueError("a whole number has more than 64 bits")
    return raw


def _scalar(kind: type) -> _Builder:
    def check(raw: Any) -> Any:
        if type(raw) is kind:
            return raw
        if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
            return float(raw)
        if not isinstance(raw, kind):
            raise TypeError(f"{raw!r} is not {kind.__name__}")
        return raw

    return check
