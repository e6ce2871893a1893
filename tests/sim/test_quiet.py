"""Leaving quiet stretches out changes nothing that is decided, and a world that is not at rest is never hurried."""

from dataclasses import replace

import pytest

from leeward.core.values import Region, ReplicationMode
from leeward.sim import predict
from leeward.sim.fault_injector import FaultInjector
from leeward.sim.faults import Fault, Kind
from leeward.sim.fleet import three
from leeward.sim.plan import FOUND_S, Plan
from leeward.sim.predict import INCIDENTS, Question, plan_of
from leeward.sim.quiet import Quiet, at_rest
from leeward.sim.simulation import Simulation
from leeward.sim.swarm import Lived, live_through

US = Region("us")
INJECTION_S = 300.0


def lonely(*faults: Fault) -> Plan:
    return Plan(1, three(ReplicationMode.SYNC), faults, (), INJECTION_S, write_every_s=1.0, skips_quiet=True)


def decided(seen: Lived) -> list[tuple[str, int]]:
    """Return what was decided, in order, as the store's log of decisions has it."""
    machine = seen.simulation.sites[US].machine
    assert machine is not None, "every agent runs in the end"
    # Each gateway reports for itself when it has switched, and each region how it rejoined: both are races between
    # regions, and an instance manager that restarts forgets the latter before it was reported.
    raced = ("PrimaryRouted", "StandbyRejoined")
    return [(record.kind, record.epoch) for _, record in machine.store.records if record.kind not in raced]


@pytest.mark.simulation
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(6))
def test_a_run_without_its_quiet_stretches_tells_the_same_story(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "INCIDENT_EVERY_S", 100.0)
    mode = tuple(ReplicationMode)[seed % 3]
    plan = plan_of(Question(three(mode), INCIDENTS, 0.1, seed))
    short, long = live_through(plan), live_through(replace(plan, skips_quiet=False))
    assert short.outcome.skipped_s > 60, "there was something to leave out"
    assert long.outcome.skipped_s == 0
    assert (short.outcome.violation, decided(short)) == (long.outcome.violation, decided(long))
    lasted_s = short.outcome.virtual_s + short.outcome.skipped_s
    assert lasted_s == pytest.approx(long.outcome.virtual_s, abs=2.0)


def test_faults_are_told_at_the_times_of_the_plan() -> None:
    lines = list[str]()
    seen = live_through(lonely(Fault(250.25, Kind.AGENT_KILL, US, None, 3.0)), trace=lines.append)
    (line,) = [line for line in lines if "agent-kill us for" in line]
    assert float(line.split(" s ")[0]) == pytest.approx(250.25)
    assert seen.outcome.skipped_s > 200


def test_nothing_is_left_out_while_a_fault_lasts() -> None:
    begins_s = FOUND_S + 1.0
    isolated = lonely(Fault(begins_s, Kind.ISOLATION, US, None, 80.0))
    assert live_through(replace(isolated, injection_s=80.0)).outcome.skipped_s == 0


def test_a_region_out_of_service_keeps_the_world_awake_until_its_traffic_is_back() -> None:
    plan = lonely()
    simulation = Simulation(plan.fleet, 1)
    injector = FaultInjector(simulation)
    quiet = Quiet(simulation, injector)
    simulation.schedule.run_until(30.0)
    assert at_rest(simulation, injector)
    simulation.sites[US].kill()
    simulation.schedule.run_until(40.0)
    simulation.sites[US].restart()
    simulation.schedule.run_until(45.0)
    assert not at_rest(simulation, injector), "its traffic is being held back"
    quiet.pass_until(45.0 + quiet.settling_s)
    assert simulation.skipped_s == 0
    quiet.pass_until(1000.0)
    assert simulation.skipped_s > 900
