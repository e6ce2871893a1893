"""Run a plan: let the storm pass, heal everything, and demand order.

A run is: found the application, let clients write, let the faults happen, heal, require that everything
converges within a bounded virtual time and then stays as it is, and look for what was promised and is gone.
"""

from collections.abc import Callable
from dataclasses import dataclass

from leeward.agent.machine import Machine
from leeward.core.values import ReplicationMode
from leeward.sim import checkers
from leeward.sim.faults import OPERATORS, Kind, Storm
from leeward.sim.plan import FOUND_S, Plan
from leeward.sim.quiet import Quiet
from leeward.sim.region import MachineFactory
from leeward.sim.shifts import Shifts
from leeward.sim.simulation import Simulation
from leeward.sim.violation import ViolationError

# What a fault set in motion before it was healed may still lead to a failover, for longer than a lease.
SETTLE_S = 8.0
CONVERGE_S = 90.0
STAY_S = 8.0


@dataclass(slots=True)
class Outcome:
    """What came of a run."""

    plan: Plan
    violation: str | None = None
    acknowledged: int = 0
    lost: int = 0
    failovers: int = 0
    virtual_s: float = 0.0
    skipped_s: float = 0.0
    """How much of the plan's time was left out, because nothing could have happened in it."""


@dataclass(frozen=True, slots=True)
class Lived:
    """A run that is over, with everything that can be asked of it."""

    outcome: Outcome
    simulation: Simulation
    healed_at_s: float
    """When everything healed, on the simulation's own clock."""


def run(plan: Plan, *, make: MachineFactory = Machine, trace: Callable[[str], None] | None = None) -> Outcome:
    """Run a plan to its end, or to the first broken promise."""
    return live_through(plan, make=make, trace=trace).outcome


def live_through(plan: Plan, *, make: MachineFactory = Machine, trace: Callable[[str], None] | None = None) -> Lived:
    """Run a plan to its end, or to the first broken promise, and keep the world for questions."""
    outcome = Outcome(plan)
    simulation = Simulation(
        plan.fleet,
        plan.seed,
        jitter=plan.jitter,
        loss=plan.loss,
        duplication=plan.duplication,
        write_every_s=plan.write_every_s,
        make=make,
        trace=trace,
    )
    storm = Storm(simulation)
    try:
        _live_through(plan, simulation, storm, outcome)
    except ViolationError as error:
        outcome.violation = str(error)
    outcome.acknowledged = len(simulation.ledger.acknowledged)
    outcome.virtual_s = simulation.schedule.now_s
    outcome.skipped_s = simulation.skipped_s
    return Lived(outcome, simulation, FOUND_S + plan.storm_s - simulation.skipped_s)


def _live_through(plan: Plan, simulation: Simulation, storm: Storm, outcome: Outcome) -> None:
    schedule, app = simulation.schedule, plan.fleet.app
    schedule.run_until(FOUND_S / 2)
    simulation.start_clients()
    schedule.run_until(FOUND_S)
    waiting = checkers.pending(simulation.sites, app, caught_up=False)
    if waiting:
        raise ViolationError(f"not founded within {FOUND_S:g} s: {'; '.join(waiting)}")
    storm.expect(plan.faults)
    storm.lie_in_wait(plan.ambushes)
    Shifts(simulation).look()
    if plan.skips_quiet:
        Quiet(simulation, storm).pass_until(FOUND_S + plan.storm_s)
    else:
        schedule.run_until(FOUND_S + plan.storm_s)
    storm.heal()
    until_s = schedule.now_s + CONVERGE_S
    schedule.run_until(schedule.now_s + SETTLE_S)
    while waiting := checkers.pending(simulation.sites, app, caught_up=False):
        if schedule.now_s >= until_s:
            raise ViolationError(f"not converged {CONVERGE_S:g} s after everything healed: {'; '.join(waiting)}")
        schedule.run_until(schedule.now_s + 1.0)
    epoch = checkers.epoch(simulation.sites, app)
    schedule.run_until(schedule.now_s + STAY_S)
    simulation.stop_clients()
    schedule.run_until(schedule.now_s + STAY_S)
    waiting = checkers.pending(simulation.sites, app)
    if waiting:
        raise ViolationError(f"it had converged, and came apart again: {'; '.join(waiting)}")
    if checkers.epoch(simulation.sites, app) != epoch:
        raise ViolationError(f"flapping: epoch {epoch} changed although all was well")
    outcome.failovers = epoch - 1
    if plan.calm and epoch != 1:
        raise ViolationError(f"the primary moved {epoch - 1} times for faults that must not move it")
    topology = checkers.topology(simulation.sites, app)
    assert topology.primary is not None, "converged"
    happened = {fault.kind for fault in (*plan.faults, *(ambush.fault for ambush in plan.ambushes))}
    modes = {plan.fleet.mode} | ({ReplicationMode.ASYNC} if Kind.MODE in happened else set())
    mode = ReplicationMode.ASYNC if ReplicationMode.ASYNC in modes else plan.fleet.mode
    checkers.check_reads(simulation.ledger, mode)
    missing = checkers.check_loss(simulation.sites, app, topology.primary, simulation.ledger, mode)
    outcome.lost = len(missing)
    if missing and happened == {Kind.SWITCHOVER}:
        raise ViolationError(f"{len(missing)} acknowledged writes lost by planned changes alone")
    if not happened & OPERATORS:
        checkers.check_bound(missing, plan.fleet)
