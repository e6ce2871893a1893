"""Coverage for Hypothesis to climb: how many lines of a part of Leeward an example reaches."""

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, ParamSpec

from hypothesis import target

P = ParamSpec("P")


@contextmanager
def lines_of(*parts: str) -> Iterator[set[tuple[str, int]]]:
    """Collect the lines that run meanwhile in files whose path contains one of the parts."""
    reached: set[tuple[str, int]] = set()

    @functools.cache
    def wanted(name: str) -> bool:
        return any(part in name for part in parts)

    def note(frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if not wanted(name):
            return None
        if event == "line":
            reached.add((name, frame.f_lineno))
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        yield reached
    finally:
        sys.settrace(before)


def climbing(*parts: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Have Hypothesis prefer examples that reach more lines of these parts: the decorator next to the test itself."""

    def led(test: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(test)
        def run(*arguments: P.args, **named: P.kwargs) -> None:
            with lines_of(*parts) as lines:
                test(*arguments, **named)
            target(float(len(lines)), label=f"lines of {', '.join(parts)}")

        return run

    return led
