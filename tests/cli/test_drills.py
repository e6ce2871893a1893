"""The options of a drill on the command line."""

from dataclasses import replace
from pathlib import Path

import pytest

from leeward.cli.drills import POD_KILL_EVERY_S, DrillRequest, application_of, every_s, lasts_s
from leeward.cli.exits import CommandError
from leeward.spec import Spec, load

PAYMENTS = Path(__file__).parents[2] / "examples" / "payments"


@pytest.mark.parametrize(
    ("duration", "seconds"), [(None, None), ("90s", 90.0), ("10m", 600.0), ("1.5h", 5400.0), ("600s", 600.0)]
)
@pytest.mark.parametrize("drill", ["blip", "pod-kill"])
def test_it_lasts_as_long_as_requested(drill: str, duration: str | None, seconds: float | None) -> None:
    assert lasts_s(DrillRequest(drill, None, None, 1, duration)) == seconds


def test_pods_are_killed_as_often_as_requested() -> None:
    assert every_s(DrillRequest("pod-kill", None, None, 1)) == POD_KILL_EVERY_S
    assert every_s(DrillRequest("pod-kill", None, None, 1, every="2.5s")) == 2.5
    with pytest.raises(CommandError, match="bad-duration"):
        every_s(DrillRequest("blip", None, None, 1, every="5s"))


@pytest.mark.parametrize(
    ("drill", "duration"), [("blip", "600"), ("blip", "-3s"), ("blip", "0s"), ("blip", ""), ("partition", "10m")]
)
def test_an_invalid_duration_is_refused(drill: str, duration: str) -> None:
    with pytest.raises(CommandError) as refused:
        lasts_s(DrillRequest(drill, None, None, 1, duration))
    (problem,) = refused.value.problems
    assert problem.code == "bad-duration"


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
    with pytest.raises(CommandError) as refused:
        application_of(fleet_of("orders", "payments"), name)
    (problem,) = refused.value.problems
    assert (problem.code, problem.what, problem.fix) == ("which-application", what, "--app orders | payments")
