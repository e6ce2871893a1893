"""What a drill is asked for on the command line."""

import pytest

from leeward.cli.exits import CommandError
from leeward.cli.trials import BLIPS_S, Wish, blips_s


@pytest.mark.parametrize(
    ("duration", "seconds"), [(None, BLIPS_S), ("90s", 90.0), ("10m", 600.0), ("1.5h", 5400.0), ("600s", 600.0)]
)
def test_blips_go_on_as_long_as_asked(duration: str | None, seconds: float) -> None:
    assert blips_s(Wish("blip", None, None, 1, duration)) == seconds


@pytest.mark.parametrize(("drill", "duration"), [("blip", "600"), ("blip", "-3s"), ("blip", ""), ("partition", "10m")])
def test_a_duration_that_makes_no_sense_is_refused(drill: str, duration: str) -> None:
    with pytest.raises(CommandError) as refused:
        blips_s(Wish(drill, None, None, 1, duration))
    (problem,) = refused.value.problems
    assert problem.code == "bad-duration"
