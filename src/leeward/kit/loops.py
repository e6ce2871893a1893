"""Endless loops: period, back-off with jitter, timeout of a turn, and what is logged, in one place.

Always true: cancellation ends a loop wherever it is, and an error that was not expected is raised. Failures in a row
are one message, at the first of a kind, and one more when it works again.
Not here: what the protocol times (heartbeats, leases, the guard), and starting a task again that failed by a bug of
ours (``agent.runtime.supervision``).
"""

import asyncio
import inspect
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Turn = Callable[[], Awaitable[object] | object]

CHANCE = random.Random()


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to pause after failures in a row: ``first_s`` doubled with each, at most ``most_s``, with jitter."""

    first_s: float
    most_s: float

    def pause_s(self, failures: int, chance: random.Random = CHANCE) -> float:
        """Return the pause after so many (1 for the first), shortened by chance to no less than half."""
        doublings = min(failures - 1, 64)
        full_s = min(self.first_s * 2**doublings, self.most_s)
        return chance.uniform(full_s / 2, full_s)


def about(pause_s: float) -> Backoff:
    """Return a pause that does not grow."""
    return Backoff(pause_s, pause_s)


@dataclass(frozen=True, slots=True)
class Expected:
    """Errors after which a loop goes on."""

    errors: tuple[type[Exception], ...]
    backoff: Backoff | None
    """None: the pause is that after a success."""
    message: str = ""
    """Logged with the error's text; empty: nothing is logged."""
    level: Literal["info", "warning", "error"] = "warning"


class Streak:
    """Failures in a row of something that is done again and again."""

    def __init__(
        self, task: str, expected: Sequence[Expected], context: dict[str, object], chance: random.Random = CHANCE
    ) -> None:
        self._task = task
        self._expected = expected
        self._context = context
        self._chance = chance
        self._failures = 0
        self._kind: Expected | None = None
        self._logged = False

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """All that are expected."""
        return tuple(error for each in self._expected for error in each.errors)

    def failed(self, error: Exception) -> float | None:
        """Count an expected error, log the first of its kind, and return the pause; None: as after a success."""
        kind = next(each for each in self._expected if isinstance(error, each.errors))
        self._failures += 1
        if kind.message and kind is not self._kind:
            self._logged = True
            write = getattr(_logger(), kind.level)
            write(kind.message, **self._context, because=str(error) or repr(error))
        self._kind = kind
        return None if kind.backoff is None else kind.backoff.pause_s(self._failures, self._chance)

    def succeeded(self) -> None:
        """End the row."""
        if self._logged:
            _logger().info("recovered", task=self._task, failures=self._failures, **self._context)
        self._failures, self._kind, self._logged = 0, None, False


async def repeat(
    task: str,
    turn: Turn,
    *,
    every_s: float | Callable[[], float],
    expected: Sequence[Expected] = (),
    timeout_s: float | None = None,
    chance: random.Random = CHANCE,
    **context: object,
) -> None:
    """Take turns until cancelled, with a pause of ``every_s`` between; one after ``timeout_s`` is a TimeoutError."""
    streak = Streak(task, expected, context, chance)
    while True:
        pause_s: float | None = None
        try:
            async with asyncio.timeout(timeout_s):
                taken = turn()
                if inspect.isawaitable(taken):
                    await taken
        except streak.errors as error:
            pause_s = streak.failed(error)
        else:
            streak.succeeded()
        if pause_s is None:
            pause_s = every_s() if callable(every_s) else every_s
        await asyncio.sleep(pause_s)


async def retry(
    task: str,
    attempt: Callable[[], Awaitable[T]],
    expected: Sequence[Expected],
    *,
    chance: random.Random = CHANCE,
    **context: object,
) -> T:
    """Attempt something until it succeeds, and return its result."""
    streak = Streak(task, expected, context, chance)
    while True:
        try:
            result = await attempt()
        except streak.errors as error:
            await asyncio.sleep(streak.failed(error) or 0.0)
        else:
            streak.succeeded()
            return result


async def follow(
    task: str,
    begin: Callable[[], AsyncIterator[T]],
    again: Backoff,
    expected: Sequence[Expected],
    *,
    chance: random.Random = CHANCE,
    **context: object,
) -> AsyncIterator[T]:
    """Yield what a stream has, until cancelled: one that ended, or failed, is begun again, ``again`` after its end."""
    streak = Streak(task, expected, context, chance)
    while True:
        pause_s: float | None = None
        try:
            async for item in begin():
                streak.succeeded()
                yield item
        except streak.errors as error:
            pause_s = streak.failed(error)
        await asyncio.sleep(again.pause_s(1, chance) if pause_s is None else pause_s)


def _logger() -> Any:
    # Imported when there is something to log: commands use these loops, and wait for what is imported.
    import structlog

    return structlog.get_logger()
