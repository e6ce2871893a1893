"""The summary of all runs, and how it is printed."""

import json
import re
from dataclasses import replace

import pytest

from leeward.core.timers import Budget
from leeward.core.values import ReplicationMode
from leeward.drill import report
from leeward.drill.measure import RunMeasure, Timeline, measure
from leeward.drill.summary import (
    Percentiles,
    Result,
    Run,
    Targets,
    document,
    exit_status,
    percentiles,
    summarise,
    waterfall,
)

from .builders import APP, US, facts

BUDGET = Budget(lease_s=2.0, margin_s=0.06, election_s=0.8, promote_s=0.1, route_s=0.1)
GOOD = replace(
    measure(facts()),
    rto_write_s=3.0,
    rto_read_s=0.2,
    acknowledged=100,
    timeline=Timeline(detected=2.0, fenced=2.2, elected=2.5, promoted=2.6, routed=2.7, first_write=3.0),
)
KEYS = {
    "runs", "rto_write_s", "rto_read_s", "timeline", "acknowledged", "lost", "duplicated", "failed_requests",
    "failovers", "objectives", "targets", "passed",
}  # fmt: skip


def summary(
    *measured: RunMeasure,
    mode: ReplicationMode = ReplicationMode.SYNC,
    broken: tuple[str, ...] = (),
    doubtful: tuple[str, ...] = (),
    inconclusive: tuple[str, ...] = (),
    recovers: bool = True,
) -> Result:
    return summarise(
        drill="region-loss",
        app=APP,
        region=US,
        replication=mode,
        runs=[Run(measured=run, broken=broken, inconclusive=doubtful) for run in measured],
        inconclusive=inconclusive,
        targets=Targets(rto_s=5.0, rpo_s=1.0),
        budget=BUDGET,
        recovers=recovers,
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([], Percentiles(), id="no runs"),
        pytest.param([3.0], Percentiles(p50=3.0, p99=3.0, max=3.0), id="one run"),
        pytest.param([1.0, 4.0, 2.0, 3.0], Percentiles(p50=2.0, p99=4.0, max=4.0), id="nearest rank"),
        pytest.param([1.0, None], Percentiles(p50=1.0), id="never is the longest"),
    ],
)
def test_percentiles(values: list[float | None], expected: Percentiles) -> None:
    assert percentiles(values) == expected


@pytest.mark.parametrize(
    ("result", "passed", "status"),
    [
        pytest.param(summary(GOOD, GOOD), True, 0, id="all good"),
        pytest.param(summary(GOOD, replace(GOOD, rto_write_s=5.1)), False, 1, id="writes back too late"),
        pytest.param(summary(GOOD, doubtful=("a needless failover",)), None, 4, id="perhaps only the machine's doing"),
        pytest.param(
            summary(replace(GOOD, lost=1), broken=("lost",), doubtful=("a failover",)), False, 1, id="lost all the same"
        ),
        pytest.param(summary(replace(GOOD, rto_write_s=None)), False, 1, id="writes never back"),
        pytest.param(summary(replace(GOOD, rto_read_s=9.0)), False, 1, id="reads back too late"),
        pytest.param(summary(replace(GOOD, lost=1)), False, 1, id="loss in sync"),
        pytest.param(summary(replace(GOOD, lost=9, rpo_s=0.9), mode=ReplicationMode.ASYNC), True, 0, id="loss within"),
        pytest.param(summary(replace(GOOD, lost=9, rpo_s=1.1), mode=ReplicationMode.ASYNC), False, 1, id="loss beyond"),
        pytest.param(summary(replace(GOOD, duplicated=1)), False, 1, id="a duplicate"),
        pytest.param(summary(GOOD, broken=("it moved",)), False, 1, id="a broken rule"),
        pytest.param(summary(replace(GOOD, rto_write_s=None), recovers=False), True, 0, id="no recovery expected"),
        pytest.param(summary(inconclusive=("run 1: no",)), None, 4, id="nothing measured"),
        pytest.param(summary(GOOD, inconclusive=("run 2: no",)), True, 4, id="not all measured"),
    ],
)
def test_verdict_and_exit_status(result: Result, passed: bool | None, status: int) -> None:
    assert (result.passed, exit_status(result)) == (passed, status)


@pytest.mark.parametrize("result", [summary(GOOD), summary(inconclusive=("no",))], ids=["measured", "inconclusive"])
def test_the_json_object_always_has_every_key(result: Result) -> None:
    printed = json.loads(json.dumps(document(result)))
    assert printed.keys() >= KEYS
    assert printed["apiVersion"] == "leeward.dev/v1alpha1"
    assert printed["rto_write_s"].keys() == printed["rto_read_s"].keys() == {"p50", "p99", "max"}
    for run in printed["timeline"]:
        assert run.keys() >= {"detected", "elected", "promoted", "routed", "first_write"}


def test_counts_are_sums_over_the_runs() -> None:
    result = summary(GOOD, replace(GOOD, failed_requests=2, failovers=1))
    assert (result.runs, result.acknowledged, result.failed_requests, result.failovers) == (2, 200, 2, 1)


def test_our_own_targets_are_shown_and_do_not_count() -> None:
    slow = replace(GOOD, failovers=1, rto_read_s=0.6, switchover_gap_s=0.9)
    result = summary(slow)
    assert [(target.name, target.measured, target.met) for target in result.targets] == [
        ("reads-interrupted", 0.6, False),
        ("switchover-gap-p99", 0.9, False),
    ]
    assert result.passed is True
    assert report.render(result).count("no: only a target") == 2
    assert all(target.met for target in summary(replace(slow, rto_read_s=0.4, switchover_gap_s=0.7)).targets)


def test_the_waterfall_has_each_step_beside_its_budget() -> None:
    steps = {step.name: (step.budget_s, step.measured_s) for step in waterfall([GOOD.timeline], BUDGET)}
    assert steps == {
        "detect": (2.06, 2.0),
        "elect": (0.8, 0.5),
        "promote": (0.1, 0.1),
        "route": (0.1, 0.1),
        "first write": (None, 0.3),
    }


def test_a_gateway_updated_early_takes_no_time_of_its_own() -> None:
    early = replace(GOOD.timeline, routed=2.55)
    steps = {step.name: step.measured_s for step in waterfall([early], None)}
    assert (steps["route"], steps["first write"]) == (0.0, 0.4)


def test_the_table_for_people_names_what_was_missed() -> None:
    result = summary(replace(GOOD, lost=2), broken=("2 acknowledged writes were lost",), inconclusive=("run 2: no",))
    text = report.render(result)
    assert "region-loss of us, payments, sync, 1 run: failed" in text
    assert "broken: run 1: 2 acknowledged writes were lost" in text
    assert "inconclusive: run 2: no" in text
    assert [line.split() for line in text.splitlines() if line.startswith("lost ")] == [
        ["lost", "0", "writes", "2", "writes", "NO"],
        ["lost", "2"],
    ]


def test_colours_follow_the_outcome_and_keep_the_columns() -> None:
    result = summary(replace(GOOD, lost=2), broken=("2 acknowledged writes were lost",))
    marked = report.render(result, lambda text, tone: f"«{tone}»{text}«/»")
    assert "«bad»NO«/»" in marked
    assert "«good»yes«/»" in marked
    assert "«bad»broken: run 1: 2 acknowledged writes were lost«/»" in marked
    assert re.sub("«[^»]*»", "", marked) == report.render(result)


def test_numbers_stand_below_the_end_of_their_heading() -> None:
    lines = report.render(summary(GOOD)).splitlines()
    (head,) = [line for line in lines if line.startswith("IMPACT")]
    (outage,) = [line for line in lines if line.startswith("write outage")]
    assert [head.index(name) + len(name) for name in ("P50", "P99", "MAX")] == [
        match.end() for match in re.finditer(r"\d+\.\d\d", outage)
    ]
