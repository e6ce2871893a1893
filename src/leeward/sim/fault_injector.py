"""Injects faults into a simulation, each at its time, and ends them."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from leeward.agent.machine import events as on
from leeward.core.values import App, FailoverPolicy, Phase, Region, Topology
from leeward.sim.application import Application
from leeward.sim.faults import UNFELT, Fault, TriggeredFault, Who
from leeward.sim.injection import Injection
from leeward.sim.simulation import Simulation

BACKUP_EVERY_S = 0.5
RESCUE_S = 20.0
"""How long after everything healed an election may go on before an operator looks at it."""


class FaultInjector:
    """Injects the faults of a plan into a simulation, each at its time, and ends them all at the end."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._open: dict[int, Callable[[], None]] = {}
        self._number = 0
        self._requests = 0
        self._injection = Injection(simulation, self._ask)
        self.over = False
        """Everything has healed."""
        self.disturbs = 0
        """How many faults last that may keep writes from being acknowledged."""
        self.disturbed_at_s = 0.0
        """When such a fault last began or ended."""
        self.met_phases: Counter[tuple[str, str]] = Counter()
        """How often a fault met a phase of the topology."""
        self.met_activities: Counter[tuple[str, str]] = Counter()
        """How often a fault met an instance's activity, by its first word."""
        self._coming: deque[Fault] = deque()
        self._aimed = 0
        self._triggered = 0

    def keep_backups(self) -> None:
        """Keep the store's state every so often: what a restore goes back to."""
        self._simulation.store.keep_backup()
        self._simulation.schedule.after(BACKUP_EVERY_S, self.keep_backups)

    def expect(self, faults: tuple[Fault, ...]) -> None:
        """Let each happen at its time, as the plan counts it."""
        self._coming = deque(sorted(faults, key=lambda fault: fault.at_s))
        self._aim()

    def _aim(self) -> None:
        self._aimed += 1
        if self._coming:
            at_s = self._coming[0].at_s - self._simulation.skipped_s
            self._simulation.schedule.at(at_s, self._strike_next, self._aimed)

    def _strike_next(self, aimed: int) -> None:
        if aimed == self._aimed:
            self.strike(self._coming.popleft())
            self._aim()

    @property
    def next_at_s(self) -> float:
        """When the next fault comes, as the plan counts; infinite when none does."""
        return self._coming[0].at_s if self._coming else float("inf")

    @property
    def calm(self) -> bool:
        """Whether no fault lasts, and no triggered fault is about to begin."""
        return not self._open and not self._triggered

    def skip_ahead(self, by_s: float) -> None:
        """Skip a stretch in which nothing can happen: all later faults come that much earlier."""
        self._simulation.skipped_s += by_s
        self._aim()

    def arm(self, triggered: tuple[TriggeredFault, ...]) -> None:
        """Inject each when the topology enters its phase."""
        counts: Counter[Phase] = Counter()

        def entered(topology: Topology) -> None:
            counts[topology.phase] += 1
            for trigger in triggered:
                if trigger.phase is topology.phase and trigger.occurrence == counts[topology.phase]:
                    self._triggered += 1
                    self._simulation.schedule.after(trigger.fault.at_s, self._fire, _aimed(trigger, topology))

        self._simulation.application.on_topology = entered

    def _fire(self, fault: Fault) -> None:
        self._triggered -= 1
        self.strike(fault)

    def strike(self, fault: Fault) -> None:
        """Let one happen now."""
        if self.over:
            return
        self._simulation.note(str(fault))
        self._note_moment(fault)
        end = self._injection.begin(fault)
        if fault.kind not in UNFELT:
            self.disturbed_at_s = self._simulation.schedule.now_s
            self.disturbs += end is not None
        if end is not None:
            self._number += 1
            self._open[self._number] = end
            self._simulation.schedule.after(fault.for_s, self._end, self._number, fault)

    def _note_moment(self, fault: Fault) -> None:
        topology = self._simulation.topology
        if topology is not None:
            self.met_phases[fault.kind, topology.phase] += 1
        for instance in self._simulation.sites[fault.where].instances.values():
            self.met_activities[fault.kind, instance.activity.partition(" ")[0] or "dead"] += 1

    def heal(self) -> None:
        """End everything that goes on, and let nothing new begin."""
        self.over = True
        self._simulation.note("everything heals")
        ends, self._open = self._open, {}
        for end in ends.values():
            end()
        self._insist_on_failover()
        # In async a store that went back has no record of the loss either: with a replica missing it waits.
        if self._injection.disks_lost or self._injection.restores:
            self._simulation.schedule.after(RESCUE_S, self._accept_the_loss)

    def _accept_the_loss(self) -> None:
        """Where the disk that held most is gone, or the loss is unknown, an operator takes the best of what is left.

        Where failover is observed only, also when it was the primary's disk.
        """
        simulation, again = self._simulation, False
        for application in simulation.applications:
            app, topology = application.app, application.topology
            if topology is None or not (topology.phase is Phase.ELECTING or self._left_to_operators(application)):
                continue
            held = {name: simulation.sites[name].instances[app].postgres.history for name in topology.data_regions}
            best = max(topology.data_regions, key=lambda region: held[region].position)
            self._ask(best, partial(_failover_to, app, best))
            again = True
        if again:
            simulation.schedule.after(RESCUE_S, self._accept_the_loss)

    def _left_to_operators(self, application: Application) -> bool:
        """Whether the primary has no data, and no other region takes over by itself."""
        topology, sites = application.topology, self._simulation.sites
        if topology is None or topology.primary is None or application.fleet.failover is FailoverPolicy.AUTOMATIC:
            return False
        return not sites[topology.primary].instances[application.app].hands.has_data

    def _end(self, number: int, fault: Fault) -> None:
        end = self._open.pop(number, None)
        if end is not None:
            self._simulation.note(f"over: {fault.kind} {fault.where}")
            if fault.kind not in UNFELT:
                self.disturbed_at_s = self._simulation.schedule.now_s
                self.disturbs -= 1
            end()

    def _insist_on_failover(self) -> None:
        """An operator who forbade automatic failover allows it again, and asks until that is heard."""
        simulation = self._simulation
        machines = [site.machine for site in simulation.sites.values() if site.machine is not None]
        stored = [machine.store.topologies.get(simulation.fleet.app) for machine in machines]
        if any(one is not None and one.topology.paused for one in stored) or len(machines) < len(simulation.sites):
            self._ask(simulation.fleet.regions[0], lambda name: on.PauseRequested(name, simulation.fleet.app, False))
            simulation.schedule.after(1.0, self._insist_on_failover)

    def _ask(self, region: Region, request: Callable[[str], on.Request]) -> None:
        self._requests += 1
        self._simulation.sites[region].post(request(f"operator-{self._requests}"))


def _failover_to(app: App, target: Region, request: str) -> on.Request:
    return on.FailoverRequested(request, app, target)


def _aimed(trigger: TriggeredFault, topology: Topology) -> Fault:
    """Return the triggered fault, in the region that the topology determines."""
    by_part = {Who.PRIMARY: topology.primary, Who.DEPOSED: topology.deposed, Who.TARGET: topology.target}
    region = by_part.get(trigger.who) or topology.favourite if trigger.who is not Who.ANY else None
    if region is None or region == trigger.fault.other:
        return trigger.fault
    return replace(trigger.fault, where=region)
