"""What waiting for a condition ends with."""

import pytest

from leeward.core.conditions.values import Status, Type
from leeward.operate.outcome import OperationError, Outcome
from leeward.operate.situation import Situation, situation
from leeward.operate.waiting import Goal, goal_of, met
from tests.cli.test_status import EAST, answer, silent, stands, telling

READY = Goal(Type.READY, Status.TRUE)
NOT_READY = stands("Ready", "False", "NotWritable", "no heartbeat from east for longer than its lease")


def view(*conditions: dict[str, object]) -> Situation:
    return situation([telling(answer(EAST, 42, 0.1), *conditions)])


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("Ready", READY),
        ("ready=true", READY),
        ("Paused=False", Goal(Type.PAUSED, Status.FALSE)),
        ("lastdrillsucceeded=unknown", Goal(Type.LAST_DRILL_SUCCEEDED, Status.UNKNOWN)),
    ],
)
def test_a_condition_is_named(text: str, goal: Goal) -> None:
    assert goal_of(text) == goal


@pytest.mark.parametrize("text", ["Redy", "Ready=maybe", ""])
def test_a_wrong_name_is_refused_with_the_right_ones(text: str) -> None:
    with pytest.raises(OperationError, match="ObjectivesFeasible"):
        goal_of(text)


def test_it_is_met_or_reports_what_is_missing() -> None:
    assert met(view(stands("Ready", "True", "Serving", "all well")), "shop", READY) == (
        True,
        "Ready is True (Serving): all well",
    )
    assert met(view(NOT_READY), "shop", READY) == (
        False,
        "Ready is False (NotWritable): no heartbeat from east for longer than its lease",
    )
    assert met(view(NOT_READY), "shop", Goal(Type.READY, Status.FALSE))[0]
    assert met(situation([silent(EAST)]), "shop", READY) == (False, "no agent answers")


@pytest.mark.parametrize(
    ("reason", "fix"),
    [("PausedWithoutPrimary", "leeward resume shop"), ("ObservedWithoutPrimary", "leeward failover shop")],
)
def test_what_only_an_operator_can_resolve_is_not_waited_for(reason: str, fix: str) -> None:
    stuck = stands("Stalled", "True", reason, "no heartbeat from east")
    with pytest.raises(OperationError, match="no heartbeat from east") as raised:
        met(view(NOT_READY, stuck), "shop", READY)
    assert raised.value.outcome is Outcome.NO
    assert fix in raised.value.problems[0].fix
    assert met(view(NOT_READY, stuck), "shop", Goal(Type.STALLED, Status.TRUE))[0]


def test_an_unknown_application_is_not_waited_for() -> None:
    with pytest.raises(OperationError, match="shop"):
        met(view(NOT_READY), "other", READY)
