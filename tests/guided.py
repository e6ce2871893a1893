"""Coverage for Hypothesis to climb: how many lines of a part of Leeward an example reaches."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def lines_of(part: str) -> Iterator[set[tuple[str, int]]]:
    """Collect the lines that run meanwhile in files whose path contains ``part``."""
    reached: set[tuple[str, int]] = set()

    def note(frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if part not in name:
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
