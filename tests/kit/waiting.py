"""Waiting in tests: one loop with a deadline, which names at the end what it waited for and what it saw last."""

import asyncio
import inspect
import linecache
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
What = str | Callable[[], object] | None
"""What is waited for, or what makes that text once it did not come; None: the line that states the condition."""
Errors = tuple[type[BaseException], ...]


async def until(
    look: Callable[[], T | Awaitable[T]],
    what: What = None,
    *,
    accept: Callable[[T], object] = bool,
    within_s: float = 60.0,
    every_s: float = 0.02,
    not_yet: Errors = (),
) -> T:
    """Look again and again until what is seen is accepted, and return it.

    An error of ``not_yet`` counts as nothing seen. Raises AssertionError after ``within_s``; a look that hangs is cut.
    """
    wait = _Wait(look, what, time.monotonic() + within_s)
    while True:
        left_s = max(0.0, wait.deadline_s - time.monotonic())
        try:
            async with asyncio.timeout(left_s) as bound:
                found: Any = look()
                wait.last = found = await found if inspect.isawaitable(found) else found
                if accept(found):
                    return found
        except not_yet as error:
            wait.last = error
        except TimeoutError:
            if not bound.expired():
                raise
        wait.check()
        await asyncio.sleep(every_s)


def block_until(
    look: Callable[[], T],
    what: What = None,
    *,
    accept: Callable[[T], object] = bool,
    within_s: float = 60.0,
    every_s: float = 0.02,
    not_yet: Errors = (),
) -> T:
    """Do as ``until`` does, where no event loop runs; a look that hangs is not cut."""
    wait = _Wait(look, what, time.monotonic() + within_s)
    while True:
        try:
            wait.last = found = look()
            if accept(found):
                return found
        except not_yet as error:
            wait.last = error
        wait.check()
        time.sleep(every_s)


@dataclass(slots=True)
class _Wait:
    look: Callable[[], object]
    what: What
    deadline_s: float
    last: object = field(default="no answer")

    def check(self) -> None:
        if time.monotonic() >= self.deadline_s:
            raise AssertionError(f"still not: {self._text()}\nlast seen: {self.last!r}")

    def _text(self) -> object:
        if self.what is not None:
            return self.what() if callable(self.what) else self.what
        code = getattr(self.look, "__code__", None)
        if code is None:
            return self.look
        line = linecache.getline(code.co_filename, code.co_firstlineno).strip()
        return f"{line} ({Path(code.co_filename).name}:{code.co_firstlineno})"
