"""Endless loops: when they pause and for how long, what they log, and how they end."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from leeward.kit import loops
from leeward.kit.loops import Backoff, Expected, Streak, about, follow, repeat, retry

REFUSED = Expected((ConnectionError,), Backoff(1.0, 4.0), "failed to ask")
LOST = Expected((TimeoutError,), None, "watch lost; reconnecting", "info")
SILENT = Expected((LookupError,), about(3.0))
Outcome = Exception | str


class Chance(random.Random):
    """Always the longest pause."""

    def uniform(self, a: float, b: float) -> float:
        return b


BOUND_S = 30.0


@dataclass
class Script:
    """What each turn does; the last one cancels the loop."""

    outcomes: list[Outcome]
    paused_s: list[float] = field(default_factory=list)

    async def turn(self) -> str:
        if not self.outcomes:
            raise asyncio.CancelledError
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def paused_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each pause was to last; none lasts."""
    found: list[float] = []

    async def sleep(delay_s: float) -> None:
        found.append(delay_s)

    monkeypatch.setattr(loops.asyncio, "sleep", sleep)
    return found


async def until_cancelled(loop: Awaitable[object]) -> None:
    with pytest.raises(asyncio.CancelledError):
        await loop


def test_a_pause_doubles_up_to_the_longest_and_is_shortened_to_no_less_than_half() -> None:
    backoff = Backoff(0.1, 5.0)
    assert [backoff.pause_s(failures, Chance()) for failures in (1, 2, 3, 7, 10_000)] == [0.1, 0.2, 0.4, 5.0, 5.0]
    drawn = [backoff.pause_s(2, random.Random(seed)) for seed in range(200)]
    assert min(drawn) >= 0.1
    assert max(drawn) <= 0.2
    assert len(set(drawn)) > 100, "agents that failed together do not ask together"
    assert backoff.pause_s(2, random.Random(7)) == backoff.pause_s(2, random.Random(7))


async def test_turns_are_taken_with_the_period_between(paused_s: list[float]) -> None:
    await until_cancelled(repeat("ask", Script(["a", "b"]).turn, every_s=2.0))
    assert paused_s == [2.0, 2.0]


async def test_the_period_may_depend_on_what_the_turn_found(paused_s: list[float]) -> None:
    periods = iter((1.0, 9.0))
    await until_cancelled(repeat("ask", Script(["a", "b"]).turn, every_s=lambda: next(periods)))
    assert paused_s == [1.0, 9.0]


async def test_a_turn_may_be_a_plain_call(paused_s: list[float]) -> None:
    looked: list[int] = []

    def look() -> None:
        looked.append(1)
        if len(looked) == 3:
            raise asyncio.CancelledError

    await until_cancelled(repeat("look", look, every_s=1.0))
    assert paused_s == [1.0, 1.0]


async def test_failures_in_a_row_are_logged_once_and_so_is_the_recovery(paused_s: list[float]) -> None:
    outcomes: list[Outcome] = [ConnectionError("refused")] * 4
    with capture_logs() as logs:
        script = Script([*outcomes, "well", "well", ConnectionError()])
        await until_cancelled(repeat("ask", script.turn, every_s=9.0, expected=(REFUSED,), chance=Chance(), app="pay"))
    assert paused_s == [1.0, 2.0, 4.0, 4.0, 9.0, 9.0, 1.0]
    assert logs == [
        {"event": "failed to ask", "log_level": "warning", "app": "pay", "because": "refused"},
        {"event": "recovered", "log_level": "info", "task": "ask", "failures": 4, "app": "pay"},
        {"event": "failed to ask", "log_level": "warning", "app": "pay", "because": "ConnectionError()"},
    ]


async def test_another_kind_of_failure_is_logged_and_has_its_own_pause(paused_s: list[float]) -> None:
    expected = (REFUSED, LOST, SILENT)
    with capture_logs() as logs:
        script = Script([ConnectionError("a"), TimeoutError("b"), KeyError("c"), "well"])
        await until_cancelled(repeat("ask", script.turn, every_s=9.0, expected=expected, chance=Chance()))
    assert paused_s == [1.0, 9.0, 3.0, 9.0]
    assert [line["event"] for line in logs] == ["failed to ask", "watch lost; reconnecting", "recovered"]
    assert logs[1]["log_level"] == "info"


async def test_what_is_silent_recovers_silently(paused_s: list[float]) -> None:
    with capture_logs() as logs:
        await until_cancelled(repeat("ask", Script([KeyError("c"), "well"]).turn, every_s=9.0, expected=(SILENT,)))
    assert logs == []
    assert len(paused_s) == 2


async def test_an_unexpected_error_ends_the_loop(paused_s: list[float]) -> None:
    with pytest.raises(ZeroDivisionError):
        await repeat("ask", Script([ZeroDivisionError()]).turn, every_s=1.0, expected=(REFUSED,))
    assert paused_s == []


async def test_a_turn_that_hangs_is_cut() -> None:
    turns = iter((asyncio.Event().wait, Script([]).turn))
    with capture_logs() as logs:
        await until_cancelled(repeat("ask", lambda: next(turns)(), every_s=0.0, expected=(LOST,), timeout_s=0.01))
    assert [line["event"] for line in logs] == ["watch lost; reconnecting"]


async def test_cancellation_ends_a_turn_and_a_pause_at_once() -> None:
    script = Script(["before the pause", "after the pause", "later", "later"])
    turns: tuple[Callable[[], Awaitable[object]], ...] = (asyncio.Event().wait, script.turn)
    for turn in turns:
        task = asyncio.create_task(repeat("ask", turn, every_s=3600.0, timeout_s=3600.0))
        await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(BOUND_S):
            await until_cancelled(task)
    assert script.outcomes[0] == "after the pause", "no turn follows a pause that was cancelled"


async def test_an_attempt_is_repeated_until_it_succeeds(paused_s: list[float]) -> None:
    with capture_logs() as logs:
        script = Script([ConnectionError("a"), ConnectionError("b"), "found"])
        assert await retry("ask", script.turn, (REFUSED,), chance=Chance(), region="eu") == "found"
    assert paused_s == [1.0, 2.0]
    assert [(line["event"], line["region"]) for line in logs] == [("failed to ask", "eu"), ("recovered", "eu")]
    with pytest.raises(KeyError):
        await retry("ask", Script([KeyError("c")]).turn, (REFUSED,))


async def test_a_stream_that_ends_or_fails_is_begun_again(paused_s: list[float]) -> None:
    streams: list[list[Outcome]] = [["a"], [ConnectionError("x")], [ConnectionError("y")], ["b", ConnectionError("z")]]

    async def begin() -> AsyncIterator[str]:
        if not streams:
            raise asyncio.CancelledError
        for outcome in streams.pop(0):
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome

    came: list[str] = []

    async def read() -> None:
        async for item in follow("watch", begin, about(0.5), (REFUSED,), chance=Chance()):
            came.append(item)  # noqa: PERF401 -- what came before the end counts

    with capture_logs() as logs:
        await until_cancelled(read())
    assert came == ["a", "b"]
    assert paused_s == [0.5, 1.0, 2.0, 1.0]
    assert [(line["event"], line.get("because")) for line in logs] == [
        ("failed to ask", "x"),
        ("recovered", None),
        ("failed to ask", "z"),
    ]


def test_a_streak_knows_what_is_expected() -> None:
    assert Streak("ask", (REFUSED, SILENT), {}).errors == (ConnectionError, LookupError)
