"""The protocol's values as JSON and back: one reversible, stable form for store, wire and logs (msgspec).

Keys come in the order of the fields, null included; unknown keys, which a newer writer may add, are ignored. What JSON
cannot express is not part of the protocol: an infinite number is written as null.
"""

import json
import re
from functools import cache, lru_cache
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")

WHOLE_MAX = 2**64
"""Whole numbers are smaller, as those of PostgreSQL and etcd are."""


class DecodeError(Exception):
    """The text is not a value of that type."""


_MANY_DIGITS = re.compile(r"\d{20}")
_to_json = msgspec.json.Encoder().encode


def encode(value: object) -> str:
    """Return compact JSON."""
    return _to_json(value).decode()


def plain(value: object) -> Any:
    """Return the value as dictionaries, lists and scalars."""
    return msgspec.to_builtins(value, builtin_types=())


def decode(kind: type[T], text: str | bytes) -> T:
    """Return the value written by ``encode``. Raises DecodeError."""
    hashable: Any = kind
    return cast("T", _decoded(hashable, text))


# Several agents in one process, as in the simulator, read the same values; none is ever changed.
@lru_cache(maxsize=256)
def _decoded(kind: Any, text: str | bytes) -> Any:
    try:
        if _MANY_DIGITS.search(text if isinstance(text, str) else text.decode()):
            json.loads(text, parse_int=_whole)
        return _decoder(kind)(text)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise DecodeError(f"not a {kind.__name__}: {error}") from error


def _whole(digits: str) -> int:
    """Return a number that our engines can have. msgspec takes any length. Raises ValueError."""
    number = int(digits)
    if abs(number) >= WHOLE_MAX:
        raise ValueError("a whole number has more than 64 bits")
    return number


@cache
def _decoder(kind: Any) -> Any:
    return msgspec.json.Decoder(kind).decode


def from_plain(kind: type[T], raw: Any) -> T:
    """Return the value ``plain`` wrote. Raises DecodeError."""
    try:
        return msgspec.convert(raw, kind)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise DecodeError(f"not a {kind.__name__}: {error}") from error
