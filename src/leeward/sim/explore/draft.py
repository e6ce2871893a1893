"""One transition of the small fleet, while it is worked out: agents' actions are performed, and checked, as they come.

Always true: what an agent and its own instance say to each other happens at once and in order; whatever crosses regions
goes through the store or a replication connection, where it waits for a transition of its own.
"""

from collections import deque
from functools import lru_cache
from typing import assert_never

from leeward.agent.machine import actions as do
from leeward.agent.machine import events as on
from leeward.core import keys
from leeward.core.codec import decode
from leeward.core.values import Region, Role, Topology, Vantage
from leeward.ports.quorum import Change, Outcome
from leeward.sim.explore import instances, promises
from leeward.sim.explore.managers import CLOCK_BEHIND_S, Instance
from leeward.sim.explore.server import common
from leeward.sim.explore.setting import Setting
from leeward.sim.explore.world import FLEET, Changed, Flight, Held, World, put
from leeward.sim.violation import ViolationError

UP, DOWN = Vantage(True, ""), Vantage(False, "")
FLIGHTS_MAX = 2
"""Of one region whose transactions are slow; more of them get no answer."""


class Draft:
    """A world that is being changed."""

    def __init__(self, setting: Setting, world: World) -> None:
        self.setting = setting
        self.tick = world.tick
        self.behind = list(world.behind)
        self.agents = list(world.agents)
        self.lives = list(world.lives)
        self.store = world.store
        self.pending = list(world.pending)
        self.flights = list(world.flights)
        instances_now = (setting.managers.instance(number) for number in world.instances)
        self.instances: dict[Region, Instance] = dict(zip(setting.regions, instances_now, strict=True))
        self._reported = dict(self.instances)
        self.held = list(world.held)
        self.faults = world.faults
        self.budget = world.budget
        self.acknowledged = world.acknowledged
        self.writers = world.writers
        self._events: deque[tuple[Region, on.Event]] = deque()

    def done(self) -> World:
        """Return the world as it is now."""
        self.settle()
        return World(
            self.tick,
            tuple(self.behind),
            tuple(self.agents),
            tuple(self.lives),
            self.store,
            tuple(self.pending),
            tuple(sorted(self.flights, key=lambda each: (each.region, each.number))),
            tuple(self.setting.managers.number(self.instances[region]) for region in self.setting.regions),
            tuple(self.held),
            self.faults,
            self.budget,
            self.acknowledged,
            self.writers,
        )

    # -- facts ------------------------------------------------------------------------------------

    def clock_s(self, region: Region) -> float:
        """Read a region's boot clock, which its agent reads, too."""
        return 100.0 + self.tick - self.behind[self.setting.index[region]]

    def instance_clock_s(self, region: Region) -> float:
        """Read the clock of the machine that a region's instance runs on."""
        return self.clock_s(region) - CLOCK_BEHIND_S

    def reachable(self, region: Region) -> frozenset[Region]:
        """Return the regions that one reaches, itself included."""
        return frozenset(other for other in self.setting.regions if self.faults.linked(region, other))

    def stores(self, region: Region) -> bool:
        """Whether a region reaches a majority of the store's members."""
        return region not in self.faults.down and 2 * len(self.reachable(region)) > len(self.setting.regions)

    def known_epoch(self, region: Region) -> int | None:
        """Return the epoch that a region's agent knows of; None while it does not run or knows none."""
        state = self.agents[self.setting.index[region]]
        if state is None:
            return None
        stored = self.setting.agents.machine(region, state).store.topologies.get(self.setting.app)
        return None if stored is None else stored.topology.epoch

    # -- agents -----------------------------------------------------------------------------------

    def post(self, region: Region, event: on.Event) -> None:
        """Let an agent handle an event, after those that were posted before."""
        self._events.append((region, event))

    def settle(self) -> None:
        """Let agents handle what was posted, and all that follows at once."""
        while True:
            while self._events:
                region, event = self._events.popleft()
                index = self.setting.index[region]
                state = self.agents[index]
                if state is None:
                    continue
                stepped = self.setting.agents.step(region, state, event, self.clock_s(region))
                self.agents[index] = stepped.state
                for action in stepped.actions:
                    self._perform(region, action)
            hung_up, worked = self._hang_up(), instances.work(self)
            instances.settle_commits(self)
            if not (hung_up or worked or self._report_all()):
                return

    def _perform(self, region: Region, action: do.Action) -> None:
        match action:
            case do.Transact():
                self._transact(region, action)
            case do.OrderInstance():
                self._order(region, action)
            case do.ExtendLease(epoch=epoch, until_s=until_s, basis=basis):
                if instances.acts(self, region):
                    fed = self.setting.managers.feed(self.instances[region], epoch, until_s, basis)
                    if fed is not None:
                        self.put(region, fed)
            case do.Probe(region=other):
                self.post(region, on.Probed(other, UP if self._serves(region, other) else DOWN))
            case do.SendPromise(region=other, promise=promise):
                if self.setting.direct and self.faults.linked(region, other):
                    self.post(other, on.PromiseReceived(promise))
            case do.ApplyRoutes() | do.MoveLeader() | do.Reply() | do.LogDecision():
                pass
            case do.ReportDefect(because=because):
                raise ViolationError(f"a topology that may not be: {because}")
            case do.ReadStore() | do.ReportStoreRestored():
                raise AssertionError("the store of a search never goes back")
            case _:
                assert_never(action)

    def _serves(self, asks: Region, region: Region) -> bool:
        state = self.agents[self.setting.index[region]]
        if state is None or not self.faults.linked(asks, region):
            return False
        return self.clock_s(region) < self.setting.agents.lease_until_s(state)

    def _order(self, region: Region, action: do.OrderInstance) -> None:
        accepted = False
        if self.faults.late == region:
            # The request hangs, is given up, and arrives later.
            self.faults = self.faults._replace(late=None)
            self.held.append(Held(region, action.order, action.basis))
        else:
            accepted = self.accept(Held(region, action.order, action.basis))
        self.post(region, on.OrderEnded(action.app, accepted))

    def accept(self, held: Held) -> bool:
        """Let an order reach an instance; False when it is refused."""
        region = held.region
        if not instances.acts(self, region):
            return False
        now_s = self.instance_clock_s(region)
        after = self.setting.managers.accept(self.instances[region], held.order, held.basis, now_s)
        if after is None:
            return False
        self.put(region, after)
        self.report(region)
        return True

    def report(self, region: Region) -> None:
        """Let an agent know how its instance is."""
        instance = self._reported[region] = self.instances[region]
        if not instance.alive:
            self.post(region, on.InstanceLost(self.setting.app, ""))
            return
        followers = tuple(
            (other, len(each.server.history))
            for other, each in self.instances.items()
            if each.server.upstream == region
        )
        now_s = self.instance_clock_s(region)
        self.post(region, self.setting.managers.reported(self.setting.app, instance, followers, now_s))

    def report_changed(self, region: Region) -> bool:
        """Report an instance unless it is as it was; whether it was not."""
        if region in self.faults.down or self.instances[region] == self._reported[region]:
            return False
        self.report(region)
        return True

    # -- the store --------------------------------------------------------------------------------

    def _transact(self, region: Region, action: do.Transact) -> None:
        flight = Flight(region, action.transaction, action.compares, action.changes, self.tick)
        if all(change.key.startswith(keys.decisions(FLEET)) for change in action.changes):
            self.post(region, on.TransactionEnded(flight.number, Outcome(True, self.store.revision)))
        elif not self.stores(region):
            self.post(region, on.TransactionEnded(flight.number, None))
        elif self.faults.slow == region:
            if sum(each.region == region for each in self.flights) >= FLIGHTS_MAX:
                self.post(region, on.TransactionEnded(flight.number, None))
            else:
                self.flights.append(flight._replace(slow=True))
        elif any(change.key in self.setting.beats for change in action.changes):
            self.answer(self.commit(flight))
        else:
            self.flights.append(flight)

    def commit(self, flight: Flight) -> Flight:
        """Let the store run a transaction; the answer is on its way."""
        before = self.topology()
        self.store, changed = put(self.store, flight.compares, flight.changes)
        if changed is not None:
            for index, agent in enumerate(self.agents):
                if agent is not None:
                    self.pending[index] = (*self.pending[index], changed)
            after = self.topology()
            if before is not None and after is not None and before != after:
                promises.deposed(self, before, after)
        return flight._replace(outcome=(changed is not None, self.store.revision))

    def answer(self, flight: Flight) -> None:
        """Let the agent know how its transaction ended."""
        if flight.answered and flight.outcome is not None:
            self.post(flight.region, on.TransactionEnded(flight.number, Outcome(*flight.outcome)))

    def give_up(self, flight: Flight) -> None:
        """The agent waits no longer."""
        if flight.answered:
            self.post(flight.region, on.TransactionEnded(flight.number, None))

    def deliver(self, region: Region) -> None:
        """Let a region's watch bring all that it has not brought yet."""
        index = self.setting.index[region]
        changes, self.pending[index] = self.pending[index], ()
        for change in changes:
            self.post(region, _news(change))
            self.settle()

    def topology(self) -> Topology | None:
        """Return the topology in the store."""
        value = self.store.value_of(self.setting.topology)
        return None if value is None else decode(Topology, value)

    # -- instances --------------------------------------------------------------------------------

    def put(self, region: Region, after: Instance) -> None:
        """Replace an instance. Raises ViolationError when it begins to accept writes without those of the past."""
        before, self.instances[region] = self.instances[region], after
        if after.server.accepts and not before.server.accepts:
            promises.whole(self, region)

    def readable(self, region: Region, other: Region) -> bool:
        """Whether a region can read another one's files and WAL."""
        server = self.instances[other].server
        stopped = server.role is Role.STOPPED or server.closing_until_s is not None
        return self.faults.linked(region, other) and not stopped

    def _report_all(self) -> bool:
        changed = False
        for region in self.setting.regions:
            changed |= self.report_changed(region)
        return changed

    def _hang_up(self) -> bool:
        """End replication connections whose other end is gone; True when there were any."""
        ended = False
        for region in self.setting.regions:
            follower = self.instances[region].server
            if follower.upstream is None:
                continue
            source = self.instances[follower.upstream].server
            same = common(follower.history, source.history) == len(follower.history)
            if source.role is Role.STOPPED or not same or not self.faults.linked(region, follower.upstream):
                self.connect(region, None)
                ended = True
        return ended

    def connect(self, region: Region, upstream: Region | None) -> None:
        """Begin, or end, to stream; both ends report it."""
        instance = self.instances[region]
        ends = {region, upstream, instance.server.upstream}
        self.put(region, instance._replace(server=instance.server._replace(upstream=upstream)))
        for end in self.setting.regions:
            if end in ends and instances.acts(self, end):
                self.report(end)


@lru_cache(maxsize=4096)
def _news(changed: Changed) -> on.StoreChanged:
    revision, entries = changed
    return on.StoreChanged(Change(revision, dict(entries)))
