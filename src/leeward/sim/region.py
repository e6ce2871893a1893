"""One simulated region: the shipped machine, its own clock, and simulated things around it.

The runtime's part is played here: actions become messages with delays, outcomes become events. The machine
is the production code, unchanged.
"""

import pickle
from collections.abc import Callable
from random import Random
from typing import assert_never

from leeward.agent.machine import actions as do
from leeward.agent.machine import events as on
from leeward.agent.machine.machine import Machine
from leeward.core.recovery import SINCE_UNIX_S
from leeward.core.settings import AgentSettings
from leeward.core.values import App, InstanceStatus, Promise, Region, Vantage
from leeward.ports.gateway import Address, Route
from leeward.ports.quorum import Change, Outcome, Snapshot
from leeward.sim.database import Instance
from leeward.sim.network import Network
from leeward.sim.process import Process
from leeward.sim.schedule import Schedule
from leeward.sim.store import Store
from leeward.sim.violation import ViolationError

# What an agent needs to start, and a local call over loopback.
BOOT_S = (0.4, 0.9)
LOCAL_S = (0.0005, 0.003)
# When a request to the instance that hangs is given up, and how many of them hang while they do.
REQUEST_TIMEOUT_S = 2.0
HANGS = 0.3
SNAPSHOT_RETRY_S = 1.0
LEADER_POLL_S = 1.0
GATEWAY_S = (0.005, 0.02)
# Until an agent that starts has looked at its region's pods: later than at the store.
PODS_SEEN_S = 0.3

# Which part of the decisions is taken a second time, from a copy of the machine's saved state.
REPLAYED = 0.0005

PODS: tuple[Address, ...] = (Address("10.0.0.1", 8000), Address("10.0.0.2", 8000))

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
        note: Callable[[Region, str], None],
        promised: Callable[[Promise], None],
    ) -> None:
        self.name = settings.region
        self.settings = settings
        self.instances: dict[App, Instance] = {}
        self.routes: dict[App, Route] = {}
        self.machine: Machine | None = None
        self.frozen = False
        self.dead = False
        self.pods = PODS
        """Ready pods of the application's service, where there is one."""
        self._schedule = schedule
        self._network = network
        self._store = store
        self._chance = chance
        self._chance_of_replay = Random(chance.random())
        self._sites = sites
        self._make = make
        self._drift = drift
        self._note = note
        self._promised = promised
        self.late_s: dict[App, float] = {}
        """How late an order or a lease may reach an instance: the request hangs, and arrives all the same."""
        self.wall_clock_ahead_s = 0.0
        self._clock_from_s = 1000.0
        self._drift_since_s = 0.0
        self._agent = Process(schedule)
        self._newest_routes: do.ApplyRoutes | None = None
        self._wake = 0
        self._awake_at_s = 0.0
        self._alarm_s = 0.0
        """For which time of the machine's clock the alarm is set; 0: it must be looked at again."""

    # -- clocks -----------------------------------------------------------------------------------

    def clock_s(self) -> float:
        """Read this region's boot clock, which runs a little fast or slow."""
        return self._clock_from_s + (self._schedule.now_s - self._drift_since_s) * (1.0 + self._drift)

    def virtual_s(self, clock_s: float) -> float:
        """Return when this region's boot clock shows ``clock_s``."""
        return self._drift_since_s + (clock_s - self._clock_from_s) / (1.0 + self._drift)

    def drift_at(self, rate: float) -> None:
        """Let the boot clock run at another rate from now on."""
        self._clock_from_s, self._drift_since_s = self.clock_s(), self._schedule.now_s
        self._drift = rate
        self._awake_at_s = self._alarm_s = 0.0
        for instance in self.instances.values():
            instance.guard.arm()
        if self.machine is not None:
            self._set_alarm(self.machine)

    @property
    def calm(self) -> bool:
        """Whether its agent runs and its databases are what they were ordered to be."""
        return self._agent.running and all(instance.calm for instance in self.instances.values())

    # -- processes --------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start the agent, after the time that takes."""
        self._agent.start()
        self._agent.frozen = self.frozen
        self.machine = None
        self._agent.after(self._chance.uniform(*BOOT_S), self._started)

    def _started(self) -> None:
        self._awake_at_s = self._alarm_s = 0.0
        self.machine = self._make(self.settings, f"{self.name}-{self._agent.life}")
        for app, instance in self.instances.items():
            self._agent.after(PODS_SEEN_S, self._see_pods, app)
            if instance.process.alive:
                self._post(on.InstanceReported(app, instance.status()))
        self._read_store()
        self._watch_leader()

    def _see_pods(self, app: App) -> None:
        self._post(on.PodsChanged(app, self.pods))

    def kill_agent(self) -> None:
        """The agent dies."""
        self._agent.kill()
        self.machine = None
        self._store.members[self.name].forget_watcher()

    def restart_agent(self) -> None:
        """The agent comes back, if anybody there can restart it."""
        if not self.dead and not self._agent.alive:
            self.boot()

    def configure(self, settings: AgentSettings) -> None:
        """Other files: the agent starts again with what they say, when it runs at all."""
        if settings == self.settings:
            return
        self.settings = settings
        if self._agent.alive:
            self.kill_agent()
            self.boot()

    def kill(self) -> None:
        """The whole region dies at once."""
        self.dead = True
        self.frozen = False
        self.kill_agent()
        self._store.members[self.name].alive = False
        for instance in self.instances.values():
            instance.held = True
            instance.suspended = False
            instance.kill()

    def restart(self) -> None:
        """The region comes back with its disks."""
        if not self.dead:
            return
        self.dead = False
        self._store.restart(self.name)
        for instance in self.instances.values():
            instance.held = False
            instance.restart()
        self.boot()

    def freeze(self, *, kernel: bool = False) -> None:
        """Every process stands still; with ``kernel`` the whole machine does, timers included."""
        if self.dead:
            return
        self.frozen = True
        self._agent.freeze()
        self._store.members[self.name].frozen = True
        for instance in self.instances.values():
            instance.held = True
            instance.suspended = kernel
            instance.process.freeze()

    def thaw(self) -> None:
        """Every process goes on, and finds what arrived meanwhile."""
        if not self.frozen:
            return
        self.frozen = False
        self._store.restart(self.name)
        for instance in self.instances.values():
            instance.held = False
            if instance.suspended:
                instance.guard.resume()
            instance.process.thaw()
        self._agent.thaw()

    def service(self, pods: tuple[Address, ...]) -> None:
        """The pods of the service become ready, or are no longer: all of them or none."""
        self.pods = pods
        for app in self.instances:
            self.post(on.PodsChanged(app, pods))

    def instance_changed(self, app: App) -> None:
        """The instance manager answers the agent's long poll, on a connection of its own."""
        instance = self.instances[app]
        status = instance.status() if instance.process.alive else None
        self._agent.after(self._chance.uniform(*LOCAL_S), self._report, app, status)

    def _report(self, app: App, status: InstanceStatus | None) -> None:
        if status is None:
            self._post(on.InstanceLost(app, "the instance manager does not answer"))
        else:
            self._post(on.InstanceReported(app, status))

    # -- the runtime's part -----------------------------------------------------------------------

    def post(self, event: on.Event) -> None:
        """Let something reach the agent from outside."""
        self._agent.receive(self._post, event)

    def _post(self, event: on.Event) -> None:
        machine = self.machine
        if machine is None:
            return
        now_s, unix_s = self.clock_s(), SINCE_UNIX_S + self._schedule.now_s + self.wall_clock_ahead_s
        saved = pickle.dumps(machine) if self._chance_of_replay.random() < REPLAYED else None
        actions = machine.handle(event, now_s, unix_s)
        if saved is not None:
            twin: Machine = pickle.loads(saved)
            if twin.handle(event, now_s, unix_s) != actions or twin.wake_at_s != machine.wake_at_s:
                raise ViolationError(f"{self.name} decides otherwise from a saved state about {event}")
        for action in actions:
            self._perform(action)
        self._set_alarm(machine)

    def _set_alarm(self, machine: Machine) -> None:
        wake_at_s = machine.wake_at_s
        if wake_at_s in (self._alarm_s, float("inf")):
            return
        at_s = self.virtual_s(wake_at_s)
        if at_s >= self._awake_at_s > self._schedule.now_s:
            return
        self._awake_at_s, self._alarm_s = at_s, wake_at_s
        self._wake += 1
        self._schedule.at(at_s + 1e-6, self._agent.enter, self._agent.life, self._ring, (self._wake,))

    def _ring(self, wake: int) -> None:
        if wake == self._wake:
            self._awake_at_s = self._alarm_s = 0.0
            self._post(on.Woke())

    def _perform(self, action: do.Action) -> None:
        match action:
            case do.Transact():
                self._transact(action)
            case do.OrderInstance() | do.ExtendLease():
                self._ask_instance(action)
            case do.Probe():
                self._probe(action)
            case do.SendPromise(region=region, promise=promise):
                self._promised(promise)
                received = on.PromiseReceived(promise)
                self._network.send_as_request(self.name, region, self._sites[region].post, received)
            case do.ApplyRoutes():
                self._newest_routes = action
                self._agent.after(self._chance.uniform(*GATEWAY_S), self._apply, action)
            case do.MoveLeader(to=to):
                self._store.move_leader(to)
            case do.ReadStore():
                self._store.members[self.name].forget_watcher()
                self._read_store()
            case do.ReportStoreRestored(because=because):
                self._note(self.name, f"the store went back: {because}")
            case do.Reply():
                self._note(self.name, f"replied: {action.because or 'accepted'}")
            case do.LogDecision(because=because):
                self._note(self.name, because)
            case do.ReportDefect(because=because):
                raise ViolationError(f"{self.name} decided on a topology that may not be: {because}")
            case _:
                assert_never(action)

    def _answer_once(self, answer: Callable[..., None]) -> Callable[..., None]:
        """Return a callback that reaches this life of the agent, the first time it is called."""
        life, answered = self._agent.life, False

        def once(*arguments: object) -> None:
            nonlocal answered
            if not answered:
                answered = True
                self._agent.enter(life, answer, arguments)

        return once

    def _transact(self, action: do.Transact) -> None:
        def ended(outcome: Outcome | None) -> None:
            self._post(on.TransactionEnded(action.transaction, outcome))

        answer = self._answer_once(ended)
        self._store.transact(self.name, action.compares, action.changes, answer)
        self._agent.after(action.timeout_s, answer, None)

    def _ask_instance(self, action: do.OrderInstance | do.ExtendLease) -> None:
        """Send the instance manager an order or a lease. While requests may be late, some of them hang."""
        if self.late_s.get(action.app) and self._chance.random() < HANGS:
            self._hang(action)
        elif isinstance(action, do.OrderInstance):
            self._agent.after(self._chance.uniform(*LOCAL_S), self._order, action)
        else:
            self._agent.after(self._chance.uniform(*LOCAL_S), self._feed, action)

    def _hang(self, action: do.OrderInstance | do.ExtendLease) -> None:
        """The agent gives the request up, and may end; the request arrives later, after others."""
        process = self.instances[action.app].process
        if isinstance(action, do.OrderInstance):
            self._agent.after(REQUEST_TIMEOUT_S, self._ordered, action.app, None)
        self._schedule.after(
            self._chance.uniform(0.0, self.late_s[action.app]), process.receive, self._arrive_late, action
        )

    def _arrive_late(self, action: do.OrderInstance | do.ExtendLease) -> None:
        instance = self.instances[action.app]
        if isinstance(action, do.ExtendLease):
            instance.feed(action.epoch, action.until_s, action.basis)
        elif instance.accept(action.order, action.basis):
            # The manager publishes what it accepted: the request itself was given up.
            self.instance_changed(action.app)

    def _order(self, action: do.OrderInstance) -> None:
        """The request has arrived: the instance manager answers with its status, later."""
        instance = self.instances[action.app]
        if not instance.process.alive:
            self._agent.after(self._chance.uniform(*LOCAL_S), self._ordered, action.app, None)
        else:
            instance.process.receive(self._accept, action)

    def _accept(self, action: do.OrderInstance) -> None:
        instance = self.instances[action.app]
        status = instance.status() if instance.accept(action.order, action.basis) else None
        self._agent.after(self._chance.uniform(*LOCAL_S), self._ordered, action.app, status)

    def _ordered(self, app: App, status: InstanceStatus | None) -> None:
        if status is not None:
            self._post(on.InstanceReported(app, status))
        self._post(on.OrderEnded(app, status is not None))

    def _feed(self, action: do.ExtendLease) -> None:
        self.instances[action.app].process.receive(self._fed, action)

    def _fed(self, action: do.ExtendLease) -> None:
        instance = self.instances[action.app]
        if instance.feed(action.epoch, action.until_s, action.basis):
            self._agent.after(self._chance.uniform(*LOCAL_S), self._report, action.app, instance.status())

    def _probe(self, action: do.Probe) -> None:
        target = self._sites[action.region]

        def probed(vantage: Vantage) -> None:
            self._post(on.Probed(action.region, vantage))

        answer = self._answer_once(probed)

        def serve() -> None:
            if target.machine is not None:
                vantage = target.machine.serving(target.clock_s())
                self._network.send(action.region, self.name, answer, vantage)

        def asked() -> None:
            if target._agent.alive:
                target._agent.receive(serve)
            elif not target.frozen:
                refused = Vantage(False, f"{action.region} refuses")
                self._network.send(action.region, self.name, answer, refused)

        self._network.send(self.name, action.region, asked)
        self._agent.after(action.timeout_s, answer, Vantage(False, f"{action.region} does not answer"))

    def _apply(self, action: do.ApplyRoutes) -> None:
        if action is not self._newest_routes:
            return
        self.routes = {route.app: route for route in action.routes}
        self._post(on.RoutesApplied(action.number))

    def _read_store(self) -> None:
        """Take a snapshot and watch from there; ask again while there is no answer."""

        def take(snapshot: Snapshot | None) -> None:
            if snapshot is None:
                self._read_store()
                return
            self._post(on.SnapshotTaken(snapshot))
            life = self._agent.life

            def deliver(change: Change) -> None:
                self._agent.enter(life, self._post, (on.StoreChanged(change),))

            def compacted() -> None:
                self._agent.enter(life, self._read_store, ())

            self._store.watch(self.name, snapshot.revision, deliver, compacted)

        answer = self._answer_once(take)
        self._store.snapshot(self.name, answer)
        self._agent.after(SNAPSHOT_RETRY_S, answer, None)

    def _watch_leader(self) -> None:
        self._post(on.LeaderSeen(self._store.leader))
        self._agent.after(LEADER_POLL_S, self._watch_leader)
