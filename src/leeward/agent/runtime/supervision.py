"""Own the tasks beside an agent's machine: a task that fails is logged, and ends neither the agent nor another task.

Not here: the machine. After an exception in it its state cannot be trusted, so the agent ends and is started again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from leeward.kit.loops import Backoff

log = structlog.get_logger()

RESTART_MIN_S = 0.1
RESTART_MAX_S = 5.0
# A task that ran so long has recovered from what failed before.
RECOVERED_AFTER_S = 30.0

Level = TypeVar("Level")
Run = Callable[[], Awaitable[None]]
Failed = Callable[[Exception], None]


async def attempt(what: str, run: Run, *, failed: Failed | None = None, **context: object) -> bool:
    """Run a task once; return False when it raised, which is logged with its type and ``context``.

    ``failed`` is then called with the exception: whatever waits for an outcome must get one.
    """
    try:
        await run()
    except Exception as error:
        log.exception("task failed", task=what, error=type(error).__name__, because=str(error), **context)
        if failed is not None:
            failed(error)
        return False
    return True


async def keep(what: str, run: Run, *, failed: Failed | None = None, **context: object) -> None:
    """Start a task again whenever it fails, until it returns by itself or is cancelled.

    The pause before doubles with each failure in a row, from RESTART_MIN_S to RESTART_MAX_S, with jitter.
    """
    backoff, failures = Backoff(RESTART_MIN_S, RESTART_MAX_S), 0
    while True:
        started_s = time.monotonic()
        if await attempt(what, run, failed=failed, **context):
            return
        failures = 1 if time.monotonic() - started_s > RECOVERED_AFTER_S else failures + 1
        await asyncio.sleep(backoff.pause_s(failures))


class Newest(Generic[Level]):
    """Holds the newest of several levels until it is taken; older ones are dropped."""

    def __init__(self) -> None:
        self._level: Level | None = None
        self._there = asyncio.Event()

    def put(self, level: Level) -> None:
        """Replace what is there."""
        self._level = level
        self._there.set()

    async def take(self) -> Level:
        """Take the newest out; wait until there is one. Several tasks may take."""
        while self._level is None:
            await self._there.wait()
        level, self._level = self._level, None
        self._there.clear()
        return level
