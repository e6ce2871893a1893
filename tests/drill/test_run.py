"""Whole drills against a fleet in miniature: what is done, in which order, what is undone, and what is found."""

import asyncio
from collections.abc import Callable

import pytest

from leeward.core.values import Region, ReplicationMode
from leeward.drill import host_load, podfaults, scene
from leeward.drill import load as loading
from leeward.drill import run as running
from leeward.drill.access import FleetView, RefusedError
from leeward.drill.faults import FAULTS
from leeward.drill.host_load import HostLoad
from leeward.drill.measure import Moment
from leeward.drill.run import Plan
from leeward.drill.run import run_drill as run_in
from leeward.drill.scene import SetupError
from leeward.drill.summary import Result, Targets, exit_status
from tests.kit.waiting import until

from .builders import APP, EU, JP, US
from .conftest import Gateway, Mood, Open
from .fleet import LEASE_S, MiniFleet, MiniPods


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "KNOWN_AGE_S", 0.1)
    monkeypatch.setattr(loading, "REQUEST_TIMEOUT_S", 0.5)
    monkeypatch.setattr(scene, "FLOWING_S", 0.5)
    # Shorter than an outage in the measurement: writes cannot both have resumed and have stopped for good.
    monkeypatch.setattr(scene, "FLOW_GAP_S", 0.3)
    monkeypatch.setattr(running, "WARM_REQUESTS", 2)
    monkeypatch.setattr(running, "TAIL_S", 0.1)
    # A machine that is busy with other tests would make these inconclusive.
    monkeypatch.setattr(host_load, "sample", lambda: HostLoad(0.0, 0.0))


def plan(drill: str, gateways: dict[Region, Gateway], **others: object) -> Plan:
    given: dict[str, object] = {"mode": None, "runs": 1, "lasts_s": 0.5, "every_s": 0.1, **others}
    return Plan(
        drill=drill,
        app=APP,
        region=US,
        targets=Targets(rto_s=60.0, rpo_s=1.0),
        lease_s=LEASE_S,
        budget=None,
        gateways={region: gateway.url for region, gateway in gateways.items()},
        round_trips_s={(US, EU): 0.08, (US, JP): 0.15, (EU, JP): 0.2},
        **given,  # type: ignore[arg-type]
    )


async def run_drill(wanted: Plan, fleet: MiniFleet, progress: Callable[[str], None]) -> Result:
    return await run_in(wanted, fleet, fleet, MiniPods(fleet), progress)


@pytest.mark.parametrize("drill", FAULTS)
async def test_every_drill_passes_on_a_healthy_fleet_and_clears_its_fault(drill: str, gateways: Open) -> None:
    opened = await gateways(US, EU, JP)
    lines: list[str] = []
    async with MiniFleet(opened) as fleet:
        result = await run_drill(plan(drill, opened), fleet, lines.append)
        assert fleet.topology.primary == US, "the primary is back in its region"
        assert not fleet.away
        assert not fleet.slow
    broken = [rule for rule in result.broken if "requests failed although" not in rule]
    assert (broken, result.inconclusive) == ([], ()), lines
    missed = {objective.name for objective in result.objectives if not objective.met}
    assert missed <= {"rto-write", "rto-read"}, "what a busy machine may miss"
    assert (result.runs, result.lost, result.duplicated, exit_status(result)) == (
        1,
        0,
        0,
        1 if missed or result.broken else 0,
    )
    assert result.acknowledged > 5
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith(("writer", "reader", "narrator"))]


async def test_a_region_loss_is_reported_step_by_step(gateways: Open) -> None:
    opened = await gateways(US, EU, JP)
    lines: list[str] = []
    async with MiniFleet(opened) as fleet:
        wanted = plan("region-loss", opened, runs=2, mode=ReplicationMode.QUORUM)
        result = await run_drill(wanted, fleet, lines.append)
    assert (result.replication, result.runs, result.failovers) == (ReplicationMode.QUORUM, 2, 2)
    for run in result.timeline:
        steps = [run.detected, run.fenced, run.elected, run.promoted, run.routed, run.first_write]
        assert None not in steps
        assert steps == sorted(steps)  # type: ignore[type-var]
    for word in ("detected", "fenced", "elected", "promoted", "routed", "first write"):
        assert [line for line in lines if f" s {word}: " in line], word
    assert fleet.done == ["kill us", "start us"] * 2
    assert result.switchover_gap_s.p50 is not None


async def test_a_lost_write_fails_the_drill(gateways: Open) -> None:
    opened = await gateways(US, EU, JP)
    async with MiniFleet(opened, forgets=8) as fleet:
        result = await run_drill(plan("region-loss", opened), fleet, lambda _: None)
    assert result.lost >= 1
    assert (result.passed, exit_status(result)) == (False, 1)
    assert [objective.name for objective in result.objectives if not objective.met] == ["lost"]


async def test_a_needless_failover_fails_the_drill(gateways: Open) -> None:
    opened = await gateways(US, EU, JP)
    async with MiniFleet(opened, nervous=True) as fleet:
        result = await run_drill(plan("blip", opened), fleet, lambda _: None)
    assert result.passed is False
    assert [sentence for sentence in result.broken if "at most 0 expected" in sentence]


async def test_on_an_overloaded_machine_a_needless_failover_is_inconclusive(
    gateways: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([HostLoad(1.0, 1.0), HostLoad(2.0, 9.0)])
    monkeypatch.setattr(host_load, "sample", lambda: next(looks))
    opened = await gateways(US, EU, JP)
    async with MiniFleet(opened, nervous=True) as fleet:
        result = await run_drill(plan("blip", opened), fleet, lambda _: None)
    assert (result.passed, exit_status(result), result.broken) == (None, 4, ())
    assert [
        sentence for sentence in result.inconclusive if "at most 0 expected" in sentence and "overloaded" in sentence
    ]


async def test_a_lost_write_fails_the_drill_on_an_overloaded_machine_too(
    gateways: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([HostLoad(1.0, 1.0), HostLoad(2.0, 9.0)])
    monkeypatch.setattr(host_load, "sample", lambda: next(looks))
    opened = await gateways(US, EU, JP)
    async with MiniFleet(opened, forgets=8) as fleet:
        result = await run_drill(plan("region-loss", opened), fleet, lambda _: None)
    assert result.passed is False
    assert [sentence for sentence in result.broken if "acknowledged writes were lost" in sentence]


@pytest.mark.parametrize("rejoins", [True, False])
async def test_a_lost_write_that_no_region_kept_counts_once_every_region_rejoined(
    gateways: Open, monkeypatch: pytest.MonkeyPatch, rejoins: bool
) -> None:
    async def refused(*_: object) -> str:
        raise RefusedError("not now")

    async def unsettled(*_: object, **__: object) -> FleetView:
        raise SetupError("jp does not stream")

    looks = iter([HostLoad(1.0, 1.0), HostLoad(2.0, 9.0)])
    monkeypatch.setattr(host_load, "sample", lambda: next(looks))
    monkeypatch.setattr(running, "STEADY_TIMEOUT_S", 0.5)
    opened = await gateways(US, EU, JP)
    async with MiniFleet(opened, forgets=8) as fleet:
        monkeypatch.setattr(fleet, "switchover", refused)
        start = fleet.start

        async def returns(region: Region) -> Moment:
            if not rejoins:
                monkeypatch.setattr(running._Drill, "_wait_steady", unsettled)
            return await start(region)

        monkeypatch.setattr(fleet, "start", returns)
        result = await run_drill(plan("region-loss", opened, mode=ReplicationMode.ASYNC), fleet, lambda _: None)
    sentences = result.broken if rejoins else result.inconclusive
    assert [each for each in sentences if "in no file of orphans" in each], result
    assert bool(result.broken) is rejoins


async def test_a_drain_takes_one_pod_after_the_other_as_the_budget_allows(gateways: Open) -> None:
    opened = await gateways(US, EU, JP)
    async with MiniFleet(opened) as fleet:
        await run_drill(plan("node-drain", opened), fleet, lambda _: None)
        assert fleet.pods[US] == ["us-1+", "us-2+"]
    assert fleet.done == ["evict us-1", "refuse us-2", "evict us-2"]


async def test_a_budget_that_allows_no_eviction_fails_the_drill(
    gateways: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(podfaults, "BACK_TIMEOUT_S", 0.5)
    opened = await gateways(US, EU, JP)
    async with MiniFleet(opened) as fleet:
        fleet.blocks_evictions = True
        result = await run_drill(plan("node-drain", opened), fleet, lambda _: None)
    assert "run 1: the disruption budget blocked the eviction of us-1 for 0.5 s" in result.broken


async def test_the_same_seed_kills_the_same_pods_and_never_the_last_one(gateways: Open) -> None:
    opened = await gateways(US, EU, JP)
    killed = []
    for _ in range(2):
        async with MiniFleet(opened) as fleet:
            fleet.pods[EU] = ["eu-1"]
            await run_drill(plan("pod-kill", opened, seed=7), fleet, lambda _: None)
            assert fleet.pods[EU] == ["eu-1"]
        killed.append(fleet.done)
    assert len(killed[0]) >= 1
    assert all(first == second for first, second in zip(*killed, strict=False))


async def test_the_only_pods_there_are_not_killed(gateways: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podfaults, "BACK_TIMEOUT_S", 0.3)
    opened = await gateways(US, EU, JP)
    async with MiniFleet(opened) as fleet:
        for region in (US, EU, JP):
            del fleet.pods[region][1:]
        for drill, because in (("pod-kill", "no region had two pods ready"), ("node-drain", "would leave none")):
            result = await run_drill(plan(drill, opened), fleet, lambda _: None)
            assert because in result.inconclusive[0]
    assert fleet.done == []


async def test_an_unsteady_fleet_is_not_drilled(gateways: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "STEADY_TIMEOUT_S", 0.3)
    opened = await gateways(US, EU, JP)
    async with MiniFleet(opened) as fleet:
        await fleet.kill(JP)
        with pytest.raises(SetupError, match="no heartbeat from jp; the standby in jp does not stream from us"):
            await run_drill(plan("region-loss", opened), fleet, lambda _: None)
    assert fleet.done == ["kill jp"]


async def test_without_traffic_beforehand_a_run_is_inconclusive(
    gateways: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "WARM_TIMEOUT_S", 0.5)
    opened = await gateways(US, EU, JP)
    opened[US].mood = opened[EU].mood = opened[JP].mood = Mood.FAILS
    async with MiniFleet(opened) as fleet:
        result = await run_drill(plan("region-loss", opened), fleet, lambda _: None)
    assert (result.passed, result.runs, exit_status(result)) == (None, 0, 4)
    assert "no steady traffic from us" in result.inconclusive[0]
    assert fleet.done == []


@pytest.mark.parametrize(("drill", "undone"), [("region-loss", "start us"), ("partition", "link us * cut=False")])
async def test_when_interrupted_it_clears_the_fault(drill: str, undone: str, gateways: Open) -> None:
    opened = await gateways(US, EU, JP)
    async with MiniFleet(opened) as fleet:
        task = asyncio.create_task(run_drill(plan(drill, opened), fleet, lambda _: None))
        await until(lambda: fleet.done, within_s=60, every_s=0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert fleet.done[-1].startswith(undone)
        assert not fleet.away
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith(("writer", "reader", "narrator"))]
