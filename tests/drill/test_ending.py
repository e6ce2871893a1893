"""How the end of a world is judged whose supervisor was killed."""

import itertools
from collections.abc import Iterator

import pytest

from leeward.drill import ending
from leeward.drill.ending import Remains
from leeward.ports.clock import SystemClock

BUSY = "the machine was overloaded: it waited"
DIRECTORY = "/home/worlds/w"
LATE, FOR_GOOD = (f"{DIRECTORY} is left {after_s} s after its supervisor" for after_s in (15, 120))


@pytest.mark.parametrize(
    ("remains", "overloaded", "broken", "inconclusive"),
    [
        pytest.param(Remains(), None, (), (), id="gone in time"),
        pytest.param(Remains(), BUSY, (), (), id="gone in time, although the machine is overloaded"),
        pytest.param(Remains(late=(DIRECTORY,)), None, (LATE,), (), id="gone too late"),
        pytest.param(Remains(late=(DIRECTORY,)), BUSY, (), (f"{LATE}; {BUSY}",), id="too late, and the machine is why"),
        pytest.param(Remains((DIRECTORY,), (DIRECTORY,)), None, (FOR_GOOD,), (), id="never gone"),
        pytest.param(Remains((DIRECTORY,), (DIRECTORY,)), BUSY, (FOR_GOOD,), (), id="never gone, on any machine"),
    ],
)
def test_what_breaks_the_rule(
    remains: Remains, overloaded: str | None, broken: tuple[str, ...], inconclusive: tuple[str, ...]
) -> None:
    assert remains.broken(overloaded) == broken
    assert remains.inconclusive(overloaded) == inconclusive


class Ticking(SystemClock):
    """A second later at each look."""

    def __init__(self) -> None:
        self._seconds = itertools.count()

    def now_s(self) -> float:
        return float(next(self._seconds))


@pytest.mark.parametrize(
    ("looks", "remains"),
    [
        pytest.param([("a", "b"), ("b",), ()], Remains(), id="gone in time"),
        pytest.param([*[("a", "b")] * 14, ("b",), ("b",), ()], Remains(late=("b",)), id="watched until it is gone"),
        pytest.param(itertools.repeat(("a",)), Remains(("a",), ("a",)), id="not watched for ever"),
    ],
)
async def test_a_world_is_watched_until_nothing_of_it_is_left(
    monkeypatch: pytest.MonkeyPatch, looks: Iterator[tuple[str, ...]], remains: Remains
) -> None:
    monkeypatch.setattr(ending, "POLL_S", 0.0)
    left = iter(looks)
    assert await ending._watch(lambda: next(left), print, Ticking()) == remains
