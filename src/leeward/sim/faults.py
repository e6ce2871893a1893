"""What can go wrong, as data: when, what, where, for how long. A storm lets it happen and ends it.

Plain data, so that a failing run can be told, replayed, and shrunk by leaving faults out.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from leeward.agent import events as on
from leeward.core.values import Phase, Region, ReplicationMode, Topology
from leeward.sim.region import PODS
from leeward.sim.simulation import Simulation


class Kind(StrEnum):
    """The faults, by the names users choose them by."""

    REGION_LOSS = "region-loss"
    REGION_FREEZE = "region-freeze"
    MACHINE_PAUSE = "machine-pause"
    AGENT_KILL = "agent-kill"
    INSTANCE_KILL = "instance-kill"
    DATABASE_CRASH = "database-crash"
    SERVICE_LOSS = "service-loss"
    ISOLATION = "isolation"
    PARTITION = "partition"
    ONE_WAY = "one-way-partition"
    FLAPPING = "flapping"
    BLIP = "blip"
    SLOW_LINK = "slow-link"
    SLOW_DISK = "slow-disk"
    LEADER_MOVE = "quorum-leader-move"
    MEMBER_KILL = "quorum-member-kill"
    WATCH_STALL = "watch-stall"
    COMPACTION = "compaction"
    CLOCK_DRIFT = "clock-drift"
    CLOCK_JUMP = "wall-clock-jump"
    SWITCHOVER = "switchover"
    FAILOVER = "failover"
    MODE = "mode-change"
    PAUSE = "failover-pause"


OPERATORS = frozenset((Kind.SWITCHOVER, Kind.FAILOVER, Kind.MODE, Kind.PAUSE))
HARMLESS = frozenset(
    (
        Kind.BLIP,
        Kind.LEADER_MOVE,
        Kind.COMPACTION,
        Kind.CLOCK_DRIFT,
        Kind.CLOCK_JUMP,
        Kind.AGENT_KILL,
        Kind.MEMBER_KILL,
        Kind.SERVICE_LOSS,
    )
)
"""Those that can be so short that no primary may move. The loss of all pods of a region may last for ever."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    at_s: float
    kind: Kind
    where: Region
    other: Region | None = None
    """The link's other end, or where an operator wants the primary."""
    for_s: float = 0.0
    amount: float = 0.0
    """Seconds of extra delay, of flush time, of clock jump; a rate; or which mode."""

    def __str__(self) -> str:
        to = f" and {self.other}" if self.other is not None else ""
        lasting = f" for {self.for_s:.2f} s" if self.for_s else ""
        amount = f" ({self.amount:g})" if self.amount else ""
        return f"{self.kind} {self.where}{to}{lasting}{amount}"


class Who(StrEnum):
    """Whom an ambush hits, as the topology that springs it says."""

    PRIMARY = "primary"
    DEPOSED = "deposed"
    TARGET = "target"
    ANYBODY = "anybody"


@dataclass(frozen=True, slots=True)
class Ambush:
    """A fault at a bad moment: ``fault.at_s`` after the topology entered a phase for the n-th time."""

    phase: Phase
    occurrence: int
    who: Who
    fault: Fault

    def __str__(self) -> str:
        return f"{self.fault.at_s:.2f} s after {self.phase} no. {self.occurrence}, to {self.who}: {self.fault}"


class Storm:
    """Lets faults happen to a simulation, each at its time, and can end them all."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._open: dict[int, Callable[[], None]] = {}
        self._number = 0
        self._requests = 0
        self._over = False
        self._coming: deque[Fault] = deque()
        self._aimed = 0
        self._ambushed = 0

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
        """Whether no fault lasts, and none is about to strike out of an ambush."""
        return not self._open and not self._ambushed

    def hasten(self, by_s: float) -> None:
        """Leave out a stretch in which nothing can happen: everything still to come does so earlier."""
        self._simulation.skipped_s += by_s
        self._aim()

    def lie_in_wait(self, ambushes: tuple[Ambush, ...]) -> None:
        """Strike when the topology enters the phases."""
        counts: Counter[Phase] = Counter()

        def entered(topology: Topology) -> None:
            counts[topology.phase] += 1
            for ambush in ambushes:
                if ambush.phase is topology.phase and ambush.occurrence == counts[topology.phase]:
                    self._ambushed += 1
                    self._simulation.schedule.after(ambush.fault.at_s, self._spring, _aimed(ambush, topology))

        self._simulation.on_topology = entered

    def _spring(self, fault: Fault) -> None:
        self._ambushed -= 1
        self.strike(fault)

    def strike(self, fault: Fault) -> None:
        """Let one happen now."""
        if self._over:
            return
        self._simulation.note(str(fault))
        end = self._begin(fault)
        if end is not None:
            self._number += 1
            self._open[self._number] = end
            self._simulation.schedule.after(fault.for_s, self._end, self._number, fault)

    def heal(self) -> None:
        """End everything that goes on, and let nothing new begin."""
        self._over = True
        self._simulation.note("everything heals")
        ends, self._open = self._open, {}
        for end in ends.values():
            end()
        self._insist_on_failover()

    def _end(self, number: int, fault: Fault) -> None:
        end = self._open.pop(number, None)
        if end is not None:
            self._simulation.note(f"over: {fault.kind} {fault.where}")
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

    def _begin(self, fault: Fault) -> Callable[[], None] | None:
        """Start a fault; return what ends it, None when it is over already."""
        simulation, where, other = self._simulation, fault.where, fault.other
        site, app = simulation.sites[where], simulation.fleet.app
        instance = site.instances.get(app)
        match fault.kind:
            case Kind.REGION_LOSS:
                if site.dead:
                    return None
                site.kill()
                return site.restart
            case Kind.REGION_FREEZE | Kind.MACHINE_PAUSE:
                if site.dead or site.frozen:
                    return None
                site.freeze(kernel=fault.kind is Kind.MACHINE_PAUSE)
                return site.thaw
            case Kind.AGENT_KILL:
                site.kill_agent()
                return site.restart_agent
            case Kind.INSTANCE_KILL:
                if instance is None or not instance.process.alive:
                    return None
                instance.kill()
                site.instance_changed(app)
                return instance.restart
            case Kind.DATABASE_CRASH:
                if instance is not None and instance.process.running:
                    instance.crash_database()
                return None
            case Kind.SERVICE_LOSS:
                if instance is None or not site.pods:
                    return None
                site.service(())
                return lambda: site.service(PODS)
            case Kind.SLOW_DISK:
                return self._slow_disk(fault)
            case Kind.LEADER_MOVE:
                simulation.store.move_leader(where)
                return None
            case Kind.MEMBER_KILL:
                if site.dead:
                    return None
                simulation.store.members[where].alive = False
                return lambda: None if site.dead else simulation.store.restart(where)
            case Kind.WATCH_STALL:
                simulation.store.stall(where, True)
                return lambda: simulation.store.stall(where, False)
            case Kind.COMPACTION:
                simulation.store.compact()
                return None
            case Kind.CLOCK_DRIFT:
                site.drift_at(fault.amount)
                return None
            case Kind.CLOCK_JUMP:
                site.wall_clock_ahead_s += fault.amount
                return None
            case Kind.SWITCHOVER:
                to = other or where
                self._ask(where, lambda name: on.SwitchoverRequested(name, app, to))
                return None
            case Kind.FAILOVER:
                to = other or where
                self._ask(where, lambda name: on.FailoverRequested(name, app, to))
                return None
            case Kind.MODE:
                mode = tuple(ReplicationMode)[int(fault.amount)]
                self._ask(where, lambda name: on.ModeRequested(name, app, mode))
                return None
            case Kind.PAUSE:
                self._ask(where, lambda name: on.PauseRequested(name, app, True))
                return lambda: self._ask(where, lambda name: on.PauseRequested(name, app, False))
            case Kind.SLOW_LINK:
                return self._slow_link(fault)
            case _:
                return self._cut(fault)

    def _slow_disk(self, fault: Fault) -> Callable[[], None]:
        store, site = self._simulation.store, self._simulation.sites[fault.where]

        def add(extra_s: float) -> None:
            store.disk_s[fault.where] += extra_s
            for instance in site.instances.values():
                instance.postgres.disk_s = max(0.0, instance.postgres.disk_s + extra_s)

        add(fault.amount)
        return lambda: add(-fault.amount)

    def _slow_link(self, fault: Fault) -> Callable[[], None]:
        slow, links = self._simulation.network.slow, self._links(fault)
        for link in links:
            slow[link] = slow.get(link, 0.0) + fault.amount

        def end() -> None:
            for link in links:
                slow[link] = max(0.0, slow[link] - fault.amount)

        return end

    def _cut(self, fault: Fault) -> Callable[[], None]:
        network, links = self._simulation.network, self._links(fault)
        for source, target in links:
            network.cut(source, target)

        def heal() -> None:
            for source, target in links:
                network.heal(source, target)

        return heal

    def _links(self, fault: Fault) -> list[tuple[Region, Region]]:
        where = fault.where
        others = [r for r in self._simulation.fleet.regions if r != where and fault.other in (None, r)]
        outward = [(where, region) for region in others]
        return outward if fault.kind is Kind.ONE_WAY else outward + [(b, a) for a, b in outward]


def _aimed(ambush: Ambush, topology: Topology) -> Fault:
    """Return the ambush's fault with whom it hits filled in."""
    whom = {Who.PRIMARY: topology.primary, Who.DEPOSED: topology.deposed, Who.TARGET: topology.target}
    region = whom.get(ambush.who) or topology.favourite if ambush.who is not Who.ANYBODY else None
    if region is None or region == ambush.fault.other:
        return ambush.fault
    return replace(ambush.fault, where=region)
