"""What a drill is asked for on the command line."""

import pytest

from leeward.cli.exits import CommandError
from leeward.cli.trials import POD_KILL_EVERY_S, Wish, every_s, lasts_s


@pytest.mark.parametrize(
    ("duration", "seconds"), [(None, None), ("90s", 90.0), ("10m", 600.0), ("1.5h", 5400.0), ("600s", 600.0)]
)
@pytest.mark.parametrize("drill", ["blip", "pod-kill"])
def test_it_goes_on_as_long_as_asked(drill: str, duration: str | None, seconds: float | None) -> None:
    assert lasts_s(Wish(drill, None, None, 1, duration)) == seconds


def test_pods_are_killed_as_often_as_asked() -> None:
    assert every_s(Wish("pod-kill", None, None, 1)) == POD_KILL_EVERY_S
    assert every_s(Wish("pod-kill", None, None, 1, every="2.5s")) == 2.5
    with pytest.raises(CommandError, match="bad-duration"):
        every_s(Wish("blip", None, None, 1, every="5s"))


@pytest.mark.parametrize(
    ("drill", "duration"), [("blip", "600"), ("blip", "-3s"), ("blip", "0s"), ("blip", ""), ("partition", "10m")]
)
def test_a_duration_that_makes_no_sense_is_refused(drill: str, duration: str) -> None:
    with pytest.raises(CommandError) as refused:
        lasts_s(Wish(drill, None, None, 1, duration))
    (problem,) = refused.value.problems
    assert problem.code == "bad-duration"
