"""What a wait returns, and what it reports when its condition does not come."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.kit.waiting import block_until, until

SOON_S = 0.05


def counting() -> Iterator[int]:
    yield from range(1000)


async def test_it_returns_what_was_accepted() -> None:
    numbers = counting()
    assert await until(lambda: next(numbers), accept=lambda number: number == 3, every_s=0) == 3


async def test_a_look_may_take_its_time() -> None:
    async def look() -> str:
        await asyncio.sleep(0)
        return "here"

    assert await until(look) == "here"


async def test_what_never_comes_is_named_with_what_was_seen_last() -> None:
    with pytest.raises(AssertionError, match=r"still not: .*lambda: None.*test_waiting.py:\d+\)\nlast seen: None"):
        await until(lambda: None, within_s=SOON_S)
    with pytest.raises(AssertionError, match="still not: a standby streams\nlast seen: 1"):
        await until(lambda: 1, "a standby streams", accept=lambda found: found > 1, within_s=SOON_S)
    with pytest.raises(AssertionError, match="still not: the status is lost"):
        await until(lambda: 0, lambda: "the status is lost", within_s=SOON_S)


async def test_a_look_that_hangs_is_cut() -> None:
    with pytest.raises(AssertionError, match=r"still not: .*\nlast seen: 'no answer'"):
        await until(asyncio.Event().wait, within_s=SOON_S)


async def test_errors_that_were_named_count_as_not_yet_and_others_do_not() -> None:
    def refuse() -> None:
        raise ConnectionError("refused")

    with pytest.raises(AssertionError, match=r"last seen: ConnectionError\('refused'\)"):
        await until(refuse, within_s=SOON_S, not_yet=(OSError,))
    with pytest.raises(ConnectionError):
        await until(refuse, within_s=SOON_S)


async def test_a_timeout_of_the_look_itself_is_an_error_of_the_look() -> None:
    async def late() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await until(late, within_s=20)


def test_without_an_event_loop_it_is_the_same() -> None:
    numbers = counting()
    assert block_until(lambda: next(numbers), accept=lambda number: number == 3, every_s=0) == 3
    with pytest.raises(AssertionError, match="still not: the file\nlast seen: False"):
        block_until(lambda: False, "the file", within_s=SOON_S)
    with pytest.raises(AssertionError, match="last seen: StopIteration"):
        block_until(lambda: next(iter(())), within_s=SOON_S, not_yet=(StopIteration,))
