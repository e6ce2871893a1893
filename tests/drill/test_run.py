"""Whole drills against a fleet in miniature: what is done, in which order, what is undone, and what is found."""

import asyncio

import pytest

from leeward.core.values import Region, ReplicationMode
from leeward.drill import faults as injuries
from leeward.drill import load as loading
from leeward.drill import run as running
from leeward.drill.faults import FAULTS, SetupError
from leeward.drill.run import Plan, run_drill
from leeward.drill.summary import Targets, exit_status

from .builders import APP, EU, JP, US
from .conftest import Gateway, Mood, Open
from .fleet import LEASE_S, MiniFleet


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "KNOWN_AGE_S", 0.1)
    monkeypatch.setattr(loading, "REQUEST_TIMEOUT_S", 0.5)
    monkeypatch.setattr(injuries, "FLOWING_S", 0.5)
    monkeypatch.setattr(running, "WARM_REQUESTS", 2)
    monkeypatch.setattr(running, "TAIL_S", 0.1)


def plan(drill: str, gateways: dict[Region, Gateway], **others: object) -> Plan:
    given: dict[str, object] = {"mode": None, "runs": 1, "blip_s": 0.5, **others}
    return Plan(
        drill=drill,
        app=APP,
        region=US,
        targets=Targets(rto_s=5.0, rpo_s=1.0),
        lease_s=LEASE_S,
        budget=None,
        gateways={region: gateway.url for region, gateway in gateways.items()},
        round_trips_s={(US, EU): 0.08, (US, JP): 0.15, (EU, JP): 0.2},
        **given,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("drill", FAULTS)
async def test_every_drill_passes_on_a_sound_fleet_and_leaves_it_whole(drill: str, gateways: Open) -> None:
    opened = await gateways(US, EU, JP)
    story: list[str] = []
    async with MiniFleet(opened) as fleet:
        result = await run_drill(plan(drill, opened), fleet, fleet, story.append)
        assert fleet.topology.primary == US, "the primary is home again"
        assert not fleet.away
        assert not fleet.slow
    assert (result.broken, result.inconclusive) == ((), ()), story
    missed = {objective.name for objective in result.objectives if not objective.met}
    assert missed <= {"rto-write", "rto-read"}, "what a busy machine may miss"
    assert (result.runs, result.lost, result.duplicated, exit_status(result)) == (1, 0, 0, 1 if missed else 0)
    assert result.acknowledged > 5
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith(("writer", "reader", "narrator"))]


async def test_a_region_loss_is_told_step_by_step(gateways: Open) -> None:
    opened = await gateways(US, EU, JP)
    story: list[str] = []
    async with MiniFleet(opened) as fleet:
        wanted = plan("region-loss", opened, runs=2, mode=ReplicationMode.QUORUM)
        result = await run_drill(wanted, fleet, fleet, story.append)
    assert (result.replication, result.runs, result.failovers) == (ReplicationMode.QUORUM, 2, 2)
    for run in result.timeline:
        steps = [run.detected, run.fenced, run.elected, run.promoted, run.routed, run.first_write]
        assert None not in steps
        assert steps == sorted(steps)  # type: ignore[type-var]
    for word in ("detected", "fenced", "elected", "promoted", "routed", "first write"):
        assert [line for line in story if f" s {word}: " in line], word
    assert fleet.done == ["kill us", "start us"] * 2
    assert result.switchover_gap_s.p50 is not None


async def test_a_lost_write_fails_the_drill(gateways: Open) -> None:
    opened = await gateways(US, EU, JP)
    async with MiniFleet(opened, forgets=8) as fleet:
        result = await run_drill(plan("region-loss", opened), fleet, fleet, lambda _: None)
    assert result.lost >= 1
    assert (result.passed, exit_status(result)) == (False, 1)
    assert [objective.name for objective in result.objectives if not objective.met] == ["lost"]


async def test_a_needless_failover_fails_the_drill(gateways: Open) -> None:
    opened = await gateways(US, EU, JP)
    async with MiniFleet(opened, nervous=True) as fleet:
        result = await run_drill(plan("blip", opened), fleet, fleet, lambda _: None)
    assert result.passed is False
    assert [sentence for sentence in result.broken if "at most 0 may" in sentence]


async def test_an_unsound_fleet_is_not_drilled(gateways: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "STEADY_TIMEOUT_S", 0.3)
    opened = await gateways(US, EU, JP)
    async with MiniFleet(opened) as fleet:
        await fleet.kill(JP)
        with pytest.raises(SetupError, match="jp is not heard; the standby in jp does not stream from us"):
            await run_drill(plan("region-loss", opened), fleet, fleet, lambda _: None)
    assert fleet.done == ["kill jp"]


async def test_without_traffic_beforehand_a_run_is_inconclusive(
    gateways: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "WARM_TIMEOUT_S", 0.5)
    opened = await gateways(US, EU, JP)
    opened[US].mood = opened[EU].mood = opened[JP].mood = Mood.FAILS
    async with MiniFleet(opened) as fleet:
        result = await run_drill(plan("region-loss", opened), fleet, fleet, lambda _: None)
    assert (result.passed, result.runs, exit_status(result)) == (None, 0, 4)
    assert "no steady traffic from us" in result.inconclusive[0]
    assert fleet.done == []


@pytest.mark.parametrize(("drill", "undone"), [("region-loss", "start us"), ("partition", "link us * cut=False")])
async def test_interrupted_it_mends_what_it_broke(drill: str, undone: str, gateways: Open) -> None:
    opened = await gateways(US, EU, JP)
    async with MiniFleet(opened) as fleet:
        task = asyncio.create_task(run_drill(plan(drill, opened), fleet, fleet, lambda _: None))
        async with asyncio.timeout(20):
            while True:
                if fleet.done:
                    break
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert fleet.done[-1].startswith(undone)
        assert not fleet.away
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith(("writer", "reader", "narrator"))]
