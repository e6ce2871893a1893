"""When a drill is tried again, when the machine is to blame, and when it is not. No drill runs."""

import subprocess
from typing import Any

import pytest

from tests.world import drilled
from tests.world.drilled import TRIES, UNDECIDED_MAX, Trials, outcome

BLAMED = f"run 1: 2 failovers happened, at most 1 may; {drilled.OVERLOADED}: it waited"
DOUBTFUL = f"run 1: writes were not acknowledged again; {drilled.OVERLOADED}: it waited"


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drilled, "calm", lambda: None)


def result(*inconclusive: str) -> dict[str, Any]:
    return {"inconclusive": list(inconclusive), "told": "the story"}


def tried(undecided: list[str], *results: dict[str, Any] | str) -> list[bool]:
    trials = Trials("blip", undecided)
    return [trials.ended_with(each) for each in results]


@pytest.mark.parametrize(
    ("results", "ends"),
    [
        pytest.param([result()], [True], id="decided at once"),
        pytest.param(["it did not begin", result("not steady"), result()], [False, False, True], id="in the end"),
        pytest.param([result(BLAMED)] * TRIES, [False, False, True], id="the machine is to blame for all"),
        pytest.param([result(BLAMED, DOUBTFUL)] * TRIES, [False] * TRIES, id="what must be seen was not"),
        pytest.param([result(BLAMED), "it did not begin", result(BLAMED)], [False] * 3, id="not for all"),
    ],
)
def test_who_needs_another_try(results: list[dict[str, Any] | str], ends: list[bool]) -> None:
    assert tried([], *results) == ends


def test_only_so_many_drills_are_the_machines_fault() -> None:
    undecided: list[str] = []
    for _ in range(UNDECIDED_MAX):
        assert tried(undecided, *[result(BLAMED)] * TRIES)[-1]
    assert undecided == [f"blip: {BLAMED}"] * UNDECIDED_MAX
    assert not tried(undecided, *[result(BLAMED)] * TRIES)[-1]


def test_a_drill_that_did_not_begin_has_no_result() -> None:
    refused = subprocess.CompletedProcess(["drill"], 2, "", "error[drill-not-begun]: not steady")
    assert outcome(refused) == refused.stderr
    assert outcome(subprocess.CompletedProcess(["drill"], 4, "{}", "told")) == {"told": "told"}
    with pytest.raises(AssertionError, match="exit status 3"):
        outcome(subprocess.CompletedProcess(["drill"], 3, "", ""))
