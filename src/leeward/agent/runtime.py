"""Drive the machine in real time: perform its actions, feed it what happened, own every task.

One consumer handles events in order; whatever waits (the store, the instance, other agents) runs in tasks
of one group and comes back as an event. Leaving ``run`` cancels them all.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Protocol, assert_never

import structlog

from leeward.agent import actions as do
from leeward.agent import events as on
from leeward.agent.machine import Machine
from leeward.core import keys
from leeward.core.codec import encode
from leeward.core.values import App, LastDrill, Promise, Region, Vantage
from leeward.ports.clock import Clock
from leeward.ports.database import Database, InstanceUnavailableError, StaleEpochError
from leeward.ports.gateway import Address, Exported, Gateway
from leeward.ports.quorum import CompactedError, Put, Quorum, QuorumUnavailableError

log = structlog.get_logger()

# The local etcd and instance manager answer in milliseconds; these bound what a hung one can hold up.
SNAPSHOT_TIMEOUT_S = 3.0
INSTANCE_TIMEOUT_S = 2.0
GATEWAY_TIMEOUT_S = 2.0
RECONNECT_S = 0.1
LEADER_POLL_S = 1.0


class Peers(Protocol):
    """The other regions' agents."""

    async def vantage(self, region: Region, *, timeout_s: float) -> Vantage:
        """Return whether the region serves; an unreachable one does not. Never raises."""
        ...

    async def tell(self, region: Region, promise: Promise, *, timeout_s: float) -> None:
        """Tell a promise, if the region can be reached. Never raises."""
        ...


class Pods(Protocol):
    """The application's pods in this region."""

    def ready(self, app: App) -> AsyncIterator[tuple[Address, ...]]:
        """Yield the ready pods at once and whenever they change; goes on over errors."""
        ...


class Runtime:
    """One agent, running."""

    def __init__(
        self,
        machine: Machine,
        *,
        clock: Clock,
        quorum: Quorum,
        databases: Mapping[App, Database],
        gateway: Gateway,
        peers: Peers,
        pods: Pods,
    ) -> None:
        self.machine = machine
        self.clock = clock
        self._quorum = quorum
        self._databases = databases
        self._gateway = gateway
        self._peers = peers
        self._pods = pods
        self._inbox: asyncio.Queue[on.Event] = asyncio.Queue()
        self._replies: dict[str, asyncio.Future[do.Reply]] = {}
        self._leases: dict[App, do.FeedLease] = {}
        self._lease_fed = asyncio.Event()
        self._routes: do.ApplyRoutes | None = None
        self._routes_set = asyncio.Event()
        self._services: tuple[Exported, ...] = ()
        self._tasks: asyncio.TaskGroup | None = None
        self._requests = 0

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._consume(), name="consume")
            tasks.create_task(self._watch_store(), name="watch store")
            tasks.create_task(self._watch_leader(), name="watch leader")
            tasks.create_task(self._feed_gateway(), name="feed gateway")
            tasks.create_task(self._feed_leases(), name="feed leases")
            for app, known in self.machine.apps.items():
                # Elsewhere it has no pods and no namespace.
                if self.machine.me in known.settings.data_regions:
                    tasks.create_task(self._watch_pods(app), name=f"watch pods of {app}")
                if app in self._databases:
                    tasks.create_task(self._watch_instance(app), name=f"watch instance of {app}")

    def post(self, event: on.Event) -> None:
        """Tell the machine what happened."""
        self._inbox.put_nowait(event)

    def serve(self, services: tuple[Exported, ...]) -> None:
        """Make the gateway lead to exported services, beside the machine's routes."""
        self._services = services
        self._routes_set.set()

    def new_request(self) -> str:
        """Return an identifier for an operator's request."""
        self._requests += 1
        return f"{self.machine.me}-{self.machine.incarnation}-{self._requests}"

    async def ask(self, request: on.Request, *, timeout_s: float) -> do.Reply:
        """Put an operator's request to the machine and return its answer. Raises TimeoutError."""
        future: asyncio.Future[do.Reply] = asyncio.get_running_loop().create_future()
        self._replies[request.request] = future
        try:
            self.post(request)
            async with asyncio.timeout(timeout_s):
                return await future
        finally:
            del self._replies[request.request]

    async def record_drill(self, app: App, drill: LastDrill, *, timeout_s: float) -> None:
        """Keep how a drill ended, for every agent and the next ones. Raises QuorumUnavailableError."""
        key = keys.drill(self.machine.settings.fleet, app)
        await self._quorum.transact((), (Put(key, encode(drill)),), timeout_s=timeout_s)

    # -- the loop ---------------------------------------------------------------------------------

    async def _consume(self) -> None:
        while True:
            self._handle(await self._next())

    async def _next(self) -> on.Event:
        if not self._inbox.empty():
            return self._inbox.get_nowait()
        left_s = self.machine.wake_at_s - self.clock.now_s()
        if left_s <= 0:
            # Give the tasks their turn even when time is always up.
            await asyncio.sleep(0)
            return on.Woke() if self._inbox.empty() else self._inbox.get_nowait()
        try:
            async with asyncio.timeout(None if left_s == float("inf") else left_s):
                return await self._inbox.get()
        except TimeoutError:
            return on.Woke()

    def _handle(self, event: on.Event) -> None:
        for action in self.machine.handle(event, self.clock.now_s(), self.clock.unix_s()):
            self._perform(action)

    def _perform(self, action: do.Action) -> None:
        assert self._tasks is not None, "actions are performed while running"
        match action:
            case do.Transact():
                self._tasks.create_task(self._transact(action))
            case do.OrderInstance():
                self._tasks.create_task(self._order(action))
            case do.FeedLease(app=app):
                # Only the newest lease matters, and it must not wait behind older ones.
                self._leases[app] = action
                self._lease_fed.set()
            case do.Probe():
                self._tasks.create_task(self._probe(action))
            case do.TellPromise(region=region, promise=promise):
                self._tasks.create_task(self._peers.tell(region, promise, timeout_s=INSTANCE_TIMEOUT_S))
            case do.ApplyRoutes():
                self._routes = action
                self._routes_set.set()
            case do.MoveLeader(to=to):
                self._tasks.create_task(self._move_leader(to))
            case do.Reply(request=request):
                future = self._replies.get(request)
                if future is not None and not future.done():
                    future.set_result(action)
            case do.Tell(app=app, because=because):
                log.info("decided", app=app, because=because)
            case _:
                assert_never(action)

    # -- performing -------------------------------------------------------------------------------

    async def _transact(self, action: do.Transact) -> None:
        try:
            outcome = await self._quorum.transact(action.compares, action.changes, timeout_s=action.timeout_s)
        except QuorumUnavailableError as error:
            log.warning("transaction unanswered", because=str(error))
            self.post(on.TransactionEnded(action.transaction, None))
        else:
            self.post(on.TransactionEnded(action.transaction, outcome))

    async def _order(self, action: do.OrderInstance) -> None:
        log.info("orders", app=action.app, role=action.order.role, epoch=action.order.epoch, to=action.order.upstream)
        try:
            status = await self._databases[action.app].order(action.order, timeout_s=INSTANCE_TIMEOUT_S)
        except (InstanceUnavailableError, StaleEpochError) as error:
            log.warning("order not taken", app=action.app, because=str(error))
            self.post(on.OrderEnded(action.app, accepted=False))
        else:
            self.post(on.InstanceReported(action.app, status))
            self.post(on.OrderEnded(action.app, accepted=True))

    async def _feed_leases(self) -> None:
        while True:
            await self._lease_fed.wait()
            self._lease_fed.clear()
            for app in list(self._leases):
                feed = self._leases.pop(app)
                try:
                    status = await self._databases[app].lease(feed.epoch, feed.until_s, timeout_s=INSTANCE_TIMEOUT_S)
                except (InstanceUnavailableError, StaleEpochError) as error:
                    log.warning("lease not fed", app=app, because=str(error))
                else:
                    self.post(on.InstanceReported(app, status))

    async def _probe(self, action: do.Probe) -> None:
        vantage = await self._peers.vantage(action.region, timeout_s=action.timeout_s)
        self.post(on.Probed(action.region, vantage))

    async def _feed_gateway(self) -> None:
        while True:
            await self._routes_set.wait()
            self._routes_set.clear()
            routes = self._routes
            if routes is None:  # services were known first; the routes will bring them along
                continue
            try:
                await self._gateway.apply(routes.routes, self._services, timeout_s=GATEWAY_TIMEOUT_S)
            except (TimeoutError, OSError) as error:
                log.warning("gateway not told", because=repr(error))
                await asyncio.sleep(RECONNECT_S)
                self._routes_set.set()
            else:
                self.post(on.RoutesApplied(routes.number))

    async def _move_leader(self, to: Region) -> None:
        try:
            await self._quorum.move_leader(to, timeout_s=SNAPSHOT_TIMEOUT_S)
        except QuorumUnavailableError as error:
            log.warning("leadership of the store not moved", to=to, because=str(error))
        else:
            log.info("leadership of the store handed over", to=to)

    # -- watching ---------------------------------------------------------------------------------

    async def _watch_store(self) -> None:
        prefix = keys.fleet_prefix(self.machine.settings.fleet)
        while True:
            try:
                snapshot = await self._quorum.snapshot(prefix, timeout_s=SNAPSHOT_TIMEOUT_S)
            except QuorumUnavailableError as error:
                log.info("waiting for the quorum store", because=str(error))
                await asyncio.sleep(RECONNECT_S)
                continue
            self.post(on.SnapshotTaken(snapshot))
            try:
                async for change in self._quorum.watch(prefix, after=snapshot.revision):
                    self.post(on.StoreChanged(change))
            except (CompactedError, QuorumUnavailableError) as error:
                log.info("watching the store anew", because=repr(error))

    async def _watch_leader(self) -> None:
        while True:
            try:
                membership = await self._quorum.membership(timeout_s=LEADER_POLL_S)
            except QuorumUnavailableError:
                self.post(on.LeaderSeen(None))
            else:
                self.post(on.LeaderSeen(None if membership.leader is None else Region(membership.leader)))
            await asyncio.sleep(LEADER_POLL_S)

    async def _watch_instance(self, app: App) -> None:
        database = self._databases[app]
        while True:
            try:
                async for status in database.changes():
                    self.post(on.InstanceReported(app, status))
            except InstanceUnavailableError as error:
                self.post(on.InstanceLost(app, str(error)))
            await asyncio.sleep(RECONNECT_S)

    async def _watch_pods(self, app: App) -> None:
        async for pods in self._pods.ready(app):
            self.post(on.PodsChanged(app, pods))
