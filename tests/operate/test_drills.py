"""The options of a drill on the command line."""

from dataclasses import replace
from pathlib import Path

import pytest

from leeward.operate.drills import DrillRequest, application_of, check
from leeward.operate.outcome import OperationError
from leeward.spec import Spec, load

PAYMENTS = Path(__file__).parents[2] / "examples" / "payments"


@pytest.mark.parametrize("drill", ["blip", "pod-kill"])
def test_drills_that_recur_last_as_long_as_requested(drill: str) -> None:
    check(DrillRequest(drill, None, None, 1, lasts_s=90.0))


def test_pods_are_killed_as_often_as_requested() -> None:
    check(DrillRequest("pod-kill", None, None, 1, every_s=2.5))
    with pytest.raises(OperationError, match="bad-duration"):
        check(DrillRequest("blip", None, None, 1, every_s=5.0))


@pytest.mark.parametrize(("drill", "lasts_s"), [("blip", 0.0), ("partition", 600.0)])
def test_an_invalid_duration_is_refused(drill: str, lasts_s: float) -> None:
    with pytest.raises(OperationError, match="bad-duration"):
        check(DrillRequest(drill, None, None, 1, lasts_s=lasts_s))


def test_an_unknown_drill_is_refused_before_a_world_is_started() -> None:
    with pytest.raises(OperationError, match="unknown-drill"):
        check(DrillRequest("meteor", None, None, 1))


def fleet_of(*names: str) -> Spec:
    spec = load(PAYMENTS)
    (application,) = spec.applications
    named = [application.metadata.model_copy(update={"name": name}) for name in names]
    return replace(spec, applications=tuple(application.model_copy(update={"metadata": each}) for each in named))


def test_the_only_application_is_meant_where_none_is_named() -> None:
    assert application_of(fleet_of("payments"), None).metadata.name == "payments"
    assert application_of(fleet_of("orders", "payments"), "payments").metadata.name == "payments"


@pytest.mark.parametrize(("name", "what"), [(None, "there are 2 applications"), ("shop", "unknown application shop")])
def test_one_of_several_must_be_named(name: str | None, what: str) -> None:
    with pytest.raises(OperationError) as refused:
        application_of(fleet_of("orders", "payments"), name)
    (problem,) = refused.value.problems
    assert (problem.code, problem.what, problem.fix) == ("which-application", what, "--app orders | payments")
