"""Run a plan: inject its faults, heal everything, and check that order returns.

A run is: found the application, let clients write, let the faults happen, heal, require that everything
converges within a bounded virtual time and then stays as it is, and look for what was promised and is gone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from leeward.agent.machine.machine import Machine
from leeward.core.recovery import RECOVERY_EPOCHS
from leeward.sim import checkers
from leeward.sim.application import Application
from leeward.sim.clients import Acknowledged
from leeward.sim.coverage import Coverage
from leeward.sim.fault_injector import FaultInjector
from leeward.sim.faults import Kind
from leeward.sim.outages import Outages
from leeward.sim.plan import FOUND_S, Plan
from leeward.sim.quiet import Quiet
from leeward.sim.region import MachineFactory
from leeward.sim.simulation import Simulation
from leeward.sim.unwritable import Unwritable
from leeward.sim.user_placement import UserPlacement
from leeward.sim.violation import ViolationError

# What a fault set in motion before it was healed may still lead to a failover, for longer than a lease.
SETTLE_S = 8.0
# Founding copies the data to every standby: over slow links that takes longer than the plan allows for.
FOUNDED_S = 20.0
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
    met: Coverage = field(default_factory=Coverage)
    """Which faults met which moments."""
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
        beside=plan.beside,
        jitter=plan.jitter,
        loss=plan.loss,
        duplication=plan.duplication,
        write_every_s=plan.write_every_s,
        make=make,
        trace=trace,
    )
    injector = FaultInjector(simulation)
    try:
        _live_through(plan, simulation, injector, outcome)
    except ViolationError as error:
        outcome.violation = str(error)
    outcome.met = Coverage(injector.met_phases, injector.met_activities)
    outcome.acknowledged = len(simulation.ledger.acknowledged)
    outcome.virtual_s = simulation.schedule.now_s
    outcome.skipped_s = simulation.skipped_s
    return Lived(outcome, simulation, FOUND_S + plan.injection_s - simulation.skipped_s)


def _live_through(plan: Plan, simulation: Simulation, injector: FaultInjector, outcome: Outcome) -> None:
    schedule = simulation.schedule
    schedule.run_until(FOUND_S / 2)
    simulation.start_clients()
    schedule.run_until(FOUND_S)
    while waiting := _pending(simulation, caught_up=False):
        if schedule.now_s >= FOUNDED_S:
            raise ViolationError(f"not founded within {FOUNDED_S:g} s: {'; '.join(waiting)}")
        schedule.run_until(schedule.now_s + 0.5)
    # The plan's time goes on from here.
    simulation.skipped_s -= schedule.now_s - FOUND_S
    injector.keep_backups()
    injector.expect(plan.faults)
    injector.arm(plan.triggered)
    UserPlacement(simulation).look()
    for application in simulation.applications:
        Outages(application, schedule, injector).look()
    Unwritable(simulation, injector).look()
    if plan.skips_quiet:
        Quiet(simulation, injector).pass_until(FOUND_S + plan.injection_s)
    else:
        schedule.run_until(FOUND_S + plan.injection_s - simulation.skipped_s)
    injector.heal()
    until_s = schedule.now_s + CONVERGE_S
    schedule.run_until(schedule.now_s + SETTLE_S)
    while waiting := _pending(simulation, caught_up=False):
        if schedule.now_s >= until_s:
            raise ViolationError(f"not converged {CONVERGE_S:g} s after everything healed: {'; '.join(waiting)}")
        schedule.run_until(schedule.now_s + 1.0)
    epochs = [checkers.epoch(simulation.sites, each.app) for each in simulation.applications]
    schedule.run_until(schedule.now_s + STAY_S)
    simulation.stop_clients()
    schedule.run_until(schedule.now_s + STAY_S)
    if waiting := _pending(simulation):
        raise ViolationError(f"it had converged, and came apart again: {'; '.join(waiting)}")
    if [checkers.epoch(simulation.sites, each.app) for each in simulation.applications] != epochs:
        raise ViolationError(f"flapping: epochs {epochs} changed although all was well")
    outcome.failovers = (epochs[0] - 1) % RECOVERY_EPOCHS
    if plan.calm and any(epoch != 1 for epoch in epochs):
        raise ViolationError(f"the primary moved (epochs {epochs}) for faults that must not move it")
    missing = [_check_losses(plan, simulation, each) for each in simulation.applications]
    outcome.lost = len(missing[0])


def _pending(simulation: Simulation, *, caught_up: bool = True) -> list[str]:
    """Return what has not converged yet, of any application."""
    return [
        what
        for each in simulation.applications
        for what in checkers.pending(simulation.sites, each.app, caught_up=caught_up)
    ]


def _check_losses(plan: Plan, simulation: Simulation, application: Application) -> list[Acknowledged]:
    """Check what was lost in the end, and return it. Raises ViolationError."""
    topology = checkers.topology(simulation.sites, application.app)
    assert topology.primary is not None, "converged"
    ledger, promises, losses = application.ledger, application.promises, application.losses
    happened = {fault.kind for fault in (*plan.faults, *(trigger.fault for trigger in plan.triggered))}
    excused = promises.lax | losses.accepted
    checkers.check_reads(ledger, excused)
    missing = checkers.check_loss(simulation.sites, application.app, topology.primary, ledger, excused)
    if missing and happened == {Kind.SWITCHOVER}:
        raise ViolationError(f"{len(missing)} acknowledged writes lost by planned changes alone")
    wanted = losses.asked | promises.waived
    checkers.check_bound([found for found in missing if found.key not in wanted], application.fleet)
    return missing
