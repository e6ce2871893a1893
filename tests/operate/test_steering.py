"""Requests for changes, on a fleet that is no world: what is asked, what is waited for, what fails and how."""

from dataclasses import replace
from typing import Any

import pytest

from leeward.base.problem import ProblemsError
from leeward.core.codec import plain
from leeward.core.values import Phase, ReplicationMode
from leeward.operate import steering, waiting
from leeward.operate.agents import Answer
from leeward.operate.outcome import OperationError, Outcome
from leeward.operate.situation import situation
from tests.cli.test_status import EAST, SHOP, WEST, answer, stands, telling
from tests.operate.fleets import ListedFleet

WITHIN_S = 30.0


class Reports:
    """An ``operate.outcome.Progress`` that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def progress(self, text: str) -> None:
        self.lines.append(text)

    note = progress


def changed(phase: Phase = Phase.STEADY, **topology: Any) -> list[Answer]:
    found = answer(EAST, 42, 0.1, phase)
    body = {**found.body, "topologies": {SHOP: {**found.body["topologies"][SHOP], **plain(topology)}}}
    return [replace(found, body=body)]


async def test_a_mode_is_requested_and_waited_for() -> None:
    fleet, reports = (
        ListedFleet(changed(), changed(because="on its way"), changed(mode=ReplicationMode.SYNC)),
        Reports(),
    )
    change = steering.mode(SHOP, ReplicationMode.SYNC)
    done = await steering.steer(fleet, change, reports, timeout_s=WITHIN_S)
    assert (done.dry_run, done.because) == (False, None)
    assert fleet.asked == [("/v1/apps/shop/mode", {"mode": "sync"})]
    assert reports.lines[0] == "steady: on its way"


async def test_a_dry_run_asks_agents_only_where_they_can_tell() -> None:
    fleet = ListedFleet(changed())
    found = await steering.steer(fleet, steering.switchover(SHOP, WEST), Reports(), timeout_s=WITHIN_S, dry_run=True)
    assert (found.dry_run, found.because) == (True, "west has all of it")
    assert fleet.asked == [("/v1/apps/shop/switchover", {"to": WEST, "dry_run": True})]
    found = await steering.steer(fleet, steering.pause(SHOP), Reports(), timeout_s=WITHIN_S, dry_run=True)
    assert (found.dry_run, found.because, len(fleet.asked)) == (True, None, 1)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(409, Outcome.REFUSED), (504, Outcome.TIMED_OUT), (403, Outcome.FAILED), (0, Outcome.FAILED)],
)
async def test_an_answer_that_is_no_yes_ends_it(status: int, outcome: Outcome) -> None:
    fleet = ListedFleet(changed())
    fleet.listed.reply = Answer("east", status, {"code": "not-safe", "because": "far is behind"})
    with pytest.raises(OperationError) as raised:
        await steering.steer(fleet, steering.failover(SHOP, WEST), Reports(), timeout_s=WITHIN_S)
    assert raised.value.outcome is outcome


async def test_a_change_that_is_late_says_what_is_missing() -> None:
    fleet = ListedFleet(changed(because="west catches up"))
    with pytest.raises(OperationError, match="west catches up") as raised:
        await steering.steer(fleet, steering.mode(SHOP, ReplicationMode.SYNC), Reports(), timeout_s=0.05)
    assert raised.value.outcome is Outcome.TIMED_OUT


async def test_unknown_regions_and_applications_are_not_asked_for() -> None:
    fleet = ListedFleet(changed())
    with pytest.raises(ProblemsError, match="no region mars"):
        await steering.steer(fleet, steering.switchover(SHOP, "mars"), Reports(), timeout_s=WITHIN_S)
    with pytest.raises(OperationError, match="unknown application 'other'"):
        await steering.steer(fleet, steering.resume("other"), Reports(), timeout_s=WITHIN_S)
    assert fleet.asked == []


def test_danger_is_confirmed_by_name() -> None:
    steering.check_confirmed(steering.resume(SHOP), None)
    steering.check_confirmed(steering.mode(SHOP, ReplicationMode.SYNC), None)
    steering.check_confirmed(steering.pause(SHOP), SHOP)
    for change in (steering.mode(SHOP, ReplicationMode.ASYNC), steering.failover(SHOP, WEST), steering.pause(SHOP)):
        with pytest.raises(OperationError, match="not-confirmed") as raised:
            steering.check_confirmed(change, "shpo")
        assert raised.value.outcome is Outcome.REFUSED


async def test_a_condition_is_waited_for_and_a_fleet_that_is_gone_is_not() -> None:
    goal, reports = waiting.goal_of("Ready"), Reports()
    missing = telling(answer(EAST, 42, 0.1), stands("Ready", "False", "NotWritable", "no primary"))
    met = telling(answer(EAST, 43, 0.1), stands("Ready", "True", "Serving", "all well"))
    state = await waiting.wait(ListedFleet([missing], [met]), SHOP, goal, reports, WITHIN_S)
    assert (state, reports.lines) == ("Ready is True (Serving): all well", ["Ready is False (NotWritable): no primary"])
    silent = [Answer("east", 0, {}, "refused")]
    with pytest.raises(ProblemsError):
        await waiting.wait(ListedFleet(silent, gone=lambda: ProblemsError([])), SHOP, goal, reports, WITHIN_S)


def test_objectives_are_those_that_the_agents_act_on() -> None:
    (row,) = situation(changed()).applications
    assert row.objectives is not None
    assert (row.objectives.rto_s, row.objectives.rpo_s) == (30.0, 5.0)
    old = answer(EAST, 42, 0.1)
    (row,) = situation([replace(old, body={k: v for k, v in old.body.items() if k != "objectives"})]).applications
    assert row.objectives is None
