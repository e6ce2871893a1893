"""What waiting for a condition ends with."""

import pytest

from leeward.cli.exits import CommandError, ExitCode
from leeward.cli.situation import Situation, situation
from leeward.cli.waiting import Wish, met, wish_of
from leeward.core.conditions.values import Status, Type

from .test_status import EAST, answer, silent, stands, telling

READY = Wish(Type.READY, Status.TRUE)
NOT_READY = stands("Ready", "False", "NotWritable", "east has not been heard for longer than its lease")


def view(*conditions: dict[str, object]) -> Situation:
    return situation([telling(answer(EAST, 42, 0.1), *conditions)])


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("Ready", READY),
        ("ready=true", READY),
        ("Paused=False", Wish(Type.PAUSED, Status.FALSE)),
        ("lastdrillsucceeded=unknown", Wish(Type.LAST_DRILL_SUCCEEDED, Status.UNKNOWN)),
    ],
)
def test_a_condition_is_named(text: str, wish: Wish) -> None:
    assert wish_of(text) == wish


@pytest.mark.parametrize("text", ["Redy", "Ready=maybe", ""])
def test_a_wrong_name_is_refused_with_the_right_ones(text: str) -> None:
    with pytest.raises(CommandError, match="ObjectivesFeasible"):
        wish_of(text)


def test_it_is_met_or_says_what_is_missing() -> None:
    assert met(view(stands("Ready", "True", "Serving", "all well")), "shop", READY) == (
        True,
        "Ready is True (Serving): all well",
    )
    assert met(view(NOT_READY), "shop", READY) == (
        False,
        "Ready is False (NotWritable): east has not been heard for longer than its lease",
    )
    assert met(view(NOT_READY), "shop", Wish(Type.READY, Status.FALSE))[0]
    assert met(situation([silent(EAST)]), "shop", READY) == (False, "no agent answers")


@pytest.mark.parametrize(
    ("reason", "fix"),
    [("PausedWithoutPrimary", "leeward resume shop"), ("ObservedWithoutPrimary", "leeward failover shop")],
)
def test_what_only_an_operator_ends_is_not_waited_for(reason: str, fix: str) -> None:
    stuck = stands("Stalled", "True", reason, "east is not heard")
    with pytest.raises(CommandError, match="east is not heard") as raised:
        met(view(NOT_READY, stuck), "shop", READY)
    assert raised.value.code is ExitCode.NO
    assert fix in raised.value.problems[0].fix
    assert met(view(NOT_READY, stuck), "shop", Wish(Type.STALLED, Status.TRUE))[0]


def test_an_application_there_is_not_is_not_waited_for() -> None:
    with pytest.raises(CommandError, match="shop"):
        met(view(NOT_READY), "other", READY)
