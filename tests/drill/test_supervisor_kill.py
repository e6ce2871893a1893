"""How what is left of a world is judged after its supervisor was killed."""

import itertools
from collections.abc import Iterator

import pytest

from leeward.drill import supervisor_kill
from leeward.drill.supervisor_kill import Leftovers
from leeward.ports.clock import SystemClock

BUSY = "the machine was overloaded: it waited"
DIRECTORY = "/home/worlds/w"
LATE, FOR_GOOD = (f"{DIRECTORY} is left {after_s} s after its supervisor was killed" for after_s in (15, 120))


@pytest.mark.parametrize(
    ("leftovers", "overloaded", "broken", "inconclusive"),
    [
        pytest.param(Leftovers(), None, (), (), id="gone in time"),
        pytest.param(Leftovers(), BUSY, (), (), id="gone in time, although the machine is overloaded"),
        pytest.param(Leftovers(late=(DIRECTORY,)), None, (LATE,), (), id="gone too late"),
        pytest.param(
            Leftovers(late=(DIRECTORY,)), BUSY, (), (f"{LATE}; {BUSY}",), id="too late, on an overloaded machine"
        ),
        pytest.param(Leftovers((DIRECTORY,), (DIRECTORY,)), None, (FOR_GOOD,), (), id="never gone"),
        pytest.param(Leftovers((DIRECTORY,), (DIRECTORY,)), BUSY, (FOR_GOOD,), (), id="never gone, on any machine"),
    ],
)
def test_what_breaks_the_rule(
    leftovers: Leftovers, overloaded: str | None, broken: tuple[str, ...], inconclusive: tuple[str, ...]
) -> None:
    assert leftovers.broken(overloaded) == broken
    assert leftovers.inconclusive(overloaded) == inconclusive


class Ticking(SystemClock):
    """A second later at each look."""

    def __init__(self) -> None:
        self._seconds = itertools.count()

    def now_s(self) -> float:
        return float(next(self._seconds))


@pytest.mark.parametrize(
    ("looks", "leftovers"),
    [
        pytest.param([("a", "b"), ("b",), ()], Leftovers(), id="gone in time"),
        pytest.param([*[("a", "b")] * 14, ("b",), ("b",), ()], Leftovers(late=("b",)), id="watched until it is gone"),
        pytest.param(itertools.repeat(("a",)), Leftovers(("a",), ("a",)), id="not watched for ever"),
    ],
)
async def test_a_world_is_watched_until_nothing_of_it_is_left(
    monkeypatch: pytest.MonkeyPatch, looks: Iterator[tuple[str, ...]], leftovers: Leftovers
) -> None:
    monkeypatch.setattr(supervisor_kill, "POLL_S", 0.0)
    left = iter(looks)
    assert await supervisor_kill._watch(lambda: next(left), print, Ticking()) == leftovers
