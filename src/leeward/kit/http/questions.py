"""Parse and check what a request holds. Anything invalid raises BadRequestError with the reason."""

import json
import math
import re
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from leeward.core.codec import WHOLE_MAX

_WHOLE = re.compile(r"[0-9]{1,20}")
_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_SHOWN_MAX = 60
DEPTH_MAX = 100
"""Maximum nesting of lists and objects."""


class BadRequestError(Exception):
    """The request is invalid; the text is the reason."""


def whole_number(request: web.Request, key: str) -> int | None:
    """Return a whole number of the query; None if it is missing. Raises BadRequestError."""
    text = request.query.get(key)
    if text is None:
        return None
    if not _WHOLE.fullmatch(text) or int(text) >= WHOLE_MAX:
        raise BadRequestError(f"{key} must be a whole number, not {shown(text)}")
    return int(text)


def seconds(request: web.Request, key: str, *, at_most: float) -> float | None:
    """Return a duration of the query; None if it is missing. Raises BadRequestError."""
    text = request.query.get(key)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise BadRequestError(f"{key} must be a number of seconds, not {shown(text)}")
    return min(float(text), at_most)


def json_of(body: bytes) -> Any:
    """Return the JSON value of a body. Raises BadRequestError."""
    try:
        found = json.loads(body.decode(), parse_constant=_refused, parse_float=_float)
    except ValueError as error:
        raise BadRequestError(f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise BadRequestError("the body is nested too deeply") from error
    level = [found]
    for _ in range(DEPTH_MAX):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return found
    raise BadRequestError(f"the body is nested more than {DEPTH_MAX} levels deep")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _float(text: str) -> float:
    return finite(float(text), "a number")


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is not a valid JSON number")


def object_of(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body; an empty body is an empty object. Raises BadRequestError."""
    found = json_of(body) if body else {}
    if not isinstance(found, dict):
        raise BadRequestError(f"the body must be a JSON object, not {shown(found)}")
    return found


def text_of(body: dict[str, Any], key: str) -> str:
    """Return a text of a body. Raises BadRequestError."""
    found = body.get(key)
    if not isinstance(found, str) or not found:
        raise BadRequestError(f"{key} must be text" + (f", not {shown(found)}" if key in body else "; it is missing"))
    try:
        found.encode()
    except UnicodeEncodeError as error:
        raise BadRequestError(f"{key} must be text: {error}") from error
    return found


def flag_of(body: dict[str, Any], key: str) -> bool:
    """Return whether a flag of a body is set; a missing one is not. Raises BadRequestError."""
    found = body.get(key, False)
    if not isinstance(found, bool):
        raise BadRequestError(f"{key} must be true or false, not {shown(found)}")
    return found


def finite(value: float, what: str) -> float:
    """Return a finite number. Raises BadRequestError for infinity and NaN."""
    if not math.isfinite(value):
        raise BadRequestError(f"{what} must be a finite number")
    return value


def shown(value: object) -> str:
    """Return a value as answers quote it, shortened if it is long."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."
