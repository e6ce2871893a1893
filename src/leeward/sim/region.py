"""One simulated region: the shipped machine, its own clock, and simulated things around it.

The runtime's part is played here: actions become messages with delays, outcomes become events. The machine
is the production code, unchanged.
"""

from collections.abc import Callable
from random import Random

from leeward.agent import actions as do
from leeward.agent import events as on
from leeward.agent.machine import Machine
from leeward.core.settings import AgentSettings
from leeward.core.values import App, Order, Region, Vantage
from leeward.ports.gateway import Address, Route
from leeward.ports.quorum import Change, Outcome, Snapshot
from leeward.sim.database import Instance
from leeward.sim.network import Network
from leeward.sim.schedule import Schedule
from leeward.sim.store import Store

# What an agent needs to start, and a local call over loopback.
BOOT_S = (0.4, 0.9)
LOCAL_S = (0.0005, 0.003)
SNAPSHOT_RETRY_S = 0.3
LEADER_POLL_S = 1.0
GATEWAY_S = (0.005, 0.02)

MachineFactory = Callable[[AgentSettings, str], Machine]


class Site:
    """Everything of one region."""

    def __init__(
        self,
        settings: AgentSettings,
        schedule: Schedule,
        network: Network,
        store: Store,
        chance: Random,
        sites: dict[Region, "Site"],
        *,
        make: MachineFactory,
        drift: float,
        tell: Callable[[Region, str], None],
    ) -> None:
        self.name = settings.region
        self.settings = settings
        self.instances: dict[App, Instance] = {}
        self.routes: dict[App, Route] = {}
        self.machine: Machine | None = None
        self.frozen = False
        self.dead = False
        self._schedule = schedule
        self._network = network
        self._store = store
        self._chance = chance
        self._sites = sites
        self._make = make
        self._drift = drift
        self._tell = tell
        self._life = 0
        self._wake = 0
        self._awake_at_s = float("inf")
        self._backlog: list[Callable[[], None]] = []

    def clock_s(self) -> float:
        """Read this region's boot clock, which runs a little fast or slow."""
        return 1000.0 + self._schedule.now_s * (1.0 + self._drift)

    # -- processes --------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start the agent, after the time that takes."""
        self._life += 1
        self._schedule.after(self._chance.uniform(*BOOT_S), self._started, self._life)

    def _started(self, life: int) -> None:
        if life != self._life or self.dead:
            return
        self.machine = self._make(self.settings, f"{self.name}-{life}")
        for app, instance in self.instances.items():
            self._post(on.PodsChanged(app, (Address("10.0.0.1", 8000), Address("10.0.0.2", 8000))))
            if instance.alive:
                self._post(on.InstanceReported(app, instance.status()))
        self._read_store(life)
        self._watch_leader(life)

    def kill_agent(self) -> None:
        """The agent dies; somebody restarts it."""
        self._life += 1
        self.machine = None

    def kill(self) -> None:
        """The whole region dies at once."""
        self.dead = True
        self.frozen = False
        self._backlog.clear()
        self.kill_agent()
        member = self._store.members[self.name]
        member.alive, member.watcher = False, None
        for instance in self.instances.values():
            instance.kill()

    def restart(self) -> None:
        """The region comes back with its disks."""
        if not self.dead:
            return
        self.dead = False
        self._store.restart(self.name)
        for instance in self.instances.values():
            instance.restart()
        self.boot()

    def freeze(self) -> None:
        """Every process stands still."""
        self.frozen = True
        self._store.members[self.name].frozen = True
        for instance in self.instances.values():
            instance.freeze()

    def thaw(self) -> None:
        """Every process goes on, and finds what arrived meanwhile."""
        if not self.frozen:
            return
        self.frozen = False
        self._store.restart(self.name)
        for instance in self.instances.values():
            instance.thaw()
        backlog, self._backlog = self._backlog, []
        for run in backlog:
            run()
        self._post(on.Woke())

    def instance_changed(self, app: App) -> None:
        """The instance manager answers the agent's long poll."""
        self._schedule.after(self._chance.uniform(*LOCAL_S), self._report, app, self._life)

    def _report(self, app: App, life: int) -> None:
        instance = self.instances[app]
        if life != self._life:
            return
        if instance.alive:
            if not instance.frozen:
                self._post(on.InstanceReported(app, instance.status()))
        else:
            self._post(on.InstanceLost(app, "the instance manager does not answer"))

    # -- the runtime's part -----------------------------------------------------------------------

    def _post(self, event: on.Event) -> None:
        machine = self.machine
        if machine is None or self.dead:
            return
        if self.frozen:
            life = self._life
            self._backlog.append(lambda: self._post(event) if life == self._life else None)
            return
        for action in machine.handle(event, self.clock_s(), self._schedule.now_s):
            self._perform(action)
        self._set_alarm(machine)

    def post(self, event: on.Event) -> None:
        """Let something happen here."""
        self._post(event)

    def _set_alarm(self, machine: Machine) -> None:
        at_s = (machine.wake_at_s - 1000.0) / (1.0 + self._drift)
        if at_s >= self._awake_at_s and self._awake_at_s > self._schedule.now_s:
            return
        self._awake_at_s = at_s
        self._wake += 1
        self._schedule.at(at_s + 1e-6, self._ring, self._life, self._wake)

    def _ring(self, life: int, wake: int) -> None:
        if life == self._life and wake == self._wake:
            self._awake_at_s = float("inf")
            self._post(on.Woke())

    def _perform(self, action: do.Action) -> None:
        life = self._life
        match action:
            case do.Transact():
                self._transact(action, life)
            case do.OrderInstance(app=app, order=order):
                self._schedule.after(self._chance.uniform(*LOCAL_S), self._order, app, order, life)
            case do.FeedLease():
                self._schedule.after(self._chance.uniform(*LOCAL_S), self._feed, action, life)
            case do.Probe():
                self._probe(action, life)
            case do.TellPromise(region=region, promise=promise):
                target = self._sites[region]
                self._network.send(self.name, region, target.post, on.PromiseReceived(promise))
            case do.ApplyRoutes():
                self._schedule.after(self._chance.uniform(*GATEWAY_S), self._apply, action, life)
            case do.MoveLeader(to=to):
                self._store.move_leader(to)
            case do.Reply(because=because):
                self._tell(self.name, f"replied: {because}" if because else "accepted")
            case do.Tell(because=because):
                self._tell(self.name, because)

    def _transact(self, action: do.Transact, life: int) -> None:
        answered = False

        def answer(outcome: Outcome | None) -> None:
            nonlocal answered
            if not answered and life == self._life:
                answered = True
                self._post(on.TransactionEnded(action.transaction, outcome))

        self._store.transact(self.name, action.compares, action.changes, answer)
        self._schedule.after(action.timeout_s, answer, None)

    def _order(self, app: App, order: Order, life: int) -> None:
        instance = self.instances[app]
        if life != self._life:
            return
        accepted = instance.alive and not instance.frozen and instance.accept(order)
        if accepted:
            self._post(on.InstanceReported(app, instance.status()))
        self._post(on.OrderEnded(app, accepted))

    def _feed(self, action: do.FeedLease, life: int) -> None:
        instance = self.instances[action.app]
        if life != self._life or not instance.alive or instance.frozen:
            return
        if instance.feed(action.epoch, action.until_s):
            self._post(on.InstanceReported(action.app, instance.status()))

    def _probe(self, action: do.Probe, life: int) -> None:
        target = self._sites[action.region]
        answered = False

        def answer(vantage: Vantage) -> None:
            nonlocal answered
            if not answered and life == self._life:
                answered = True
                self._post(on.Probed(action.region, vantage))

        def asked() -> None:
            if target.frozen:
                return
            if target.machine is None:
                vantage = Vantage(False, f"{action.region} refuses")
            else:
                vantage = target.machine.serving(target.clock_s())
            self._network.send(action.region, self.name, answer, vantage)

        self._network.send(self.name, action.region, asked)
        self._schedule.after(action.timeout_s, answer, Vantage(False, f"{action.region} does not answer"))

    def _apply(self, action: do.ApplyRoutes, life: int) -> None:
        if life != self._life or self.frozen:
            return
        self.routes = {route.app: route for route in action.routes}
        self._post(on.RoutesApplied(action.number))

    def _read_store(self, life: int) -> None:
        if life != self._life or self.machine is None:
            return
        taken = False

        def take(snapshot: Snapshot) -> None:
            nonlocal taken
            if taken or life != self._life:
                return
            taken = True
            self._post(on.SnapshotTaken(snapshot))
            self._store.watch(self.name, snapshot.revision, deliver)

        def deliver(change: Change) -> None:
            if life == self._life:
                self._post(on.StoreChanged(change))

        def again() -> None:
            if not taken:
                self._read_store(life)

        self._store.snapshot(self.name, take)
        self._schedule.after(SNAPSHOT_RETRY_S, again)

    def _watch_leader(self, life: int) -> None:
        if life != self._life:
            return
        self._post(on.LeaderSeen(self._store.leader))
        self._schedule.after(LEADER_POLL_S, self._watch_leader, life)
