"""Drive the machine in real time: perform its actions, feed it what happened, own every task.

One consumer handles events in order; whatever waits (the store, the instance, other agents) runs in tasks
of one group and comes back as an event. Leaving ``run`` cancels them all.

Always true: nothing of one application waits for another's; a performer that fails is logged and reported to the
machine as a failure, and ends nothing else. Only an exception in the machine ends the agent.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Protocol, assert_never

import structlog

from leeward.agent.machine import actions as do
from leeward.agent.machine import events as on
from leeward.agent.machine.machine import Machine
from leeward.agent.runtime.changes import Changes
from leeward.agent.runtime.supervision import Failed, Newest, Run, attempt, keep
from leeward.core import keys
from leeward.core.codec import encode
from leeward.core.values import App, LastDrill, Promise, Region, Vantage
from leeward.kit.loops import Expected, about, repeat, retry
from leeward.ports.clock import Clock
from leeward.ports.database import Database, InstanceUnavailableError, StaleError
from leeward.ports.gateway import Address, Carried, Exported, Gateway, GatewayUnavailableError
from leeward.ports.quorum import CompactedError, Put, Quorum, QuorumUnavailableError, Snapshot, StoreReplacedError

log = structlog.get_logger()

# The local etcd and instance manager answer in milliseconds; these bound what a hung one can hold up.
SNAPSHOT_TIMEOUT_S = 3.0
INSTANCE_TIMEOUT_S = 2.0
GATEWAY_TIMEOUT_S = 2.0
RECONNECT_S = 0.1
ROUTES_NOT_APPLIED = Expected((TimeoutError, OSError), about(RECONNECT_S), "failed to update gateway routes")
STORE_AWAY = Expected((QuorumUnavailableError,), about(RECONNECT_S), "waiting for the quorum store", "info")
GATEWAY_SILENT = Expected((GatewayUnavailableError,), None, "gateway did not answer")
# What does not serve the lease waits so long for it, at most.
HEARTBEAT_WAIT_S = 2.0
LEASE_WAIT_S = 0.5
LEADER_POLL_S = 1.0
PATHS_EVERY_S = 5.0
PATHS_TIMEOUT_S = 2.0
# Two failures in a row take the region's users away: 1 to 5 s after the gateway stopped answering them.
USERS_EVERY_S = 1.0
USERS_TIMEOUT_S = 2.0
# A lease that hangs on its way must not hold up the next one of the same application.
LEASES_AT_ONCE = 2


class Peers(Protocol):
    """The other regions' agents."""

    async def vantage(self, region: Region, *, timeout_s: float) -> Vantage:
        """Return whether the region serves; an unreachable one does not. Never raises."""
        ...

    async def send_promise(self, region: Region, promise: Promise, *, timeout_s: float) -> None:
        """Send a promise, if the region can be reached. Never raises."""
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
        self.changes = Changes()
        """Of what the machine knows, and of what is kept beside it."""
        self._quorum = quorum
        self._databases = databases
        self._gateway = gateway
        self._peers = peers
        self._pods = pods
        self._inbox: asyncio.Queue[on.Event] = asyncio.Queue()
        self._replies: dict[str, asyncio.Future[do.Reply]] = {}
        self._leases: dict[App, Newest[do.ExtendLease]] = {app: Newest() for app in databases}
        self._read_again = asyncio.Event()
        self._routes: do.ApplyRoutes | None = None
        self._routes_set = asyncio.Event()
        self._heard = asyncio.Event()
        self._extended = asyncio.Event()
        # None: not known yet, and the gateway keeps those it has.
        self._services: tuple[Exported, ...] | None = () if machine.settings.exports_in is None else None
        self._tasks: asyncio.TaskGroup | None = None
        self._requests = 0

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._consume(), name="consume")
            self._keep("watch store", self._watch_store)
            self._keep("update gateway", self._update_gateway)
            self._keep("extend leases", self._extend_leases)
            for app, known in self.machine.apps.items():
                # Elsewhere it has no pods and no namespace.
                if self.machine.me in known.settings.data_regions:
                    self._keep("watch pods", partial(self._watch_pods, app), app=app)
                if app in self._databases:
                    lost = partial(self._instance_lost, app)
                    self._keep("watch instance", partial(self._watch_instance, app), failed=lost, app=app)
            await self.heard()
            self._keep("watch leader", self._watch_leader)
            self._keep("probe gateway paths", self._try_paths)
            self._keep("probe the users' port", self._try_users_port)

    async def heard(self) -> None:
        """Return once the store has taken a heartbeat and an instance a lease, if there is one that needs it.

        An agent that was started again has what is left of its lease for that, so whatever else it connects to waits:
        a handshake costs as much as a heartbeat, and there are dozens. The waits are limited by HEARTBEAT_WAIT_S and
        LEASE_WAIT_S.
        """
        for done, timeout_s in ((self._heard, HEARTBEAT_WAIT_S), (self._extended, LEASE_WAIT_S)):
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await done.wait()

    def post(self, event: on.Event) -> None:
        """Report to the machine what happened."""
        self._inbox.put_nowait(event)

    def serve(self, services: tuple[Exported, ...]) -> None:
        """Make the gateway route to exported services, beside the machine's routes."""
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
        known = self.machine.news
        for action in self.machine.handle(event, self.clock.now_s(), self.clock.unix_s()):
            self._perform(action)
        if self.machine.news != known:
            self.changes.publish()

    def _perform(self, action: do.Action) -> None:
        match action:
            case do.Transact(transaction=number):
                self._start(
                    "transact", partial(self._transact, action), on.TransactionEnded(number, None), transaction=number
                )
            case do.OrderInstance(app=app):
                self._start("order instance", partial(self._order, action), on.OrderEnded(app, accepted=False), app=app)
            case do.ExtendLease(app=app):
                # Only the newest lease matters, and it must not wait behind older ones.
                self._leases[app].put(action)
            case do.Probe(region=region):
                unknown = on.Probed(region, Vantage(False, f"the probe of {region} failed"))
                self._start("probe", partial(self._probe, action), unknown, region=region)
            case do.SendPromise(region=region, promise=promise):
                sending = partial(self._peers.send_promise, region, promise, timeout_s=INSTANCE_TIMEOUT_S)
                self._start("send promise", sending, region=region, app=promise.app)
            case do.ApplyRoutes():
                self._routes = action
                self._routes_set.set()
            case do.ReadStore():
                self._read_again.set()
            case do.MoveLeader(to=to):
                self._start("move leader", partial(self._move_leader, to), to=to)
            case do.Reply():
                self._reply(action)
            case do.ReportStoreRestored() | do.LogDecision() | do.ReportDefect():
                _write_to_log(action)
            case _:
                assert_never(action)

    def _reply(self, reply: do.Reply) -> None:
        """Answer the operator who waits for this, if one still does."""
        future = self._replies.get(reply.request)
        if future is not None and not future.done():
            future.set_result(reply)

    # -- owning tasks -----------------------------------------------------------------------------

    def _start(self, what: str, run: Run, otherwise: on.Event | None = None, **context: object) -> asyncio.Task[bool]:
        """Perform something once. The machine gets ``otherwise`` when that fails in a way that was not foreseen."""
        assert self._tasks is not None, "actions are performed while running"
        failed = None if otherwise is None else lambda _: self.post(otherwise)
        return self._tasks.create_task(attempt(what, run, failed=failed, **context), name=what)

    def _keep(self, what: str, run: Run, *, failed: Failed | None = None, **context: object) -> asyncio.Task[None]:
        assert self._tasks is not None, "tasks are kept while running"
        return self._tasks.create_task(keep(what, run, failed=failed, **context), name=what)

    # -- performing -------------------------------------------------------------------------------

    async def _transact(self, action: do.Transact) -> None:
        try:
            outcome = await self._quorum.transact(action.compares, action.changes, timeout_s=action.timeout_s)
        except QuorumUnavailableError as error:
            log.warning("store did not answer the transaction", because=str(error))
            self.post(on.TransactionEnded(action.transaction, None))
        else:
            if outcome.succeeded:
                self._heard.set()
            self.post(on.TransactionEnded(action.transaction, outcome))

    async def _order(self, action: do.OrderInstance) -> None:
        order = action.order
        log.info("sending order to instance", app=action.app, role=order.role, epoch=order.epoch, to=order.upstream)
        try:
            status = await self._databases[action.app].order(order, basis=action.basis, timeout_s=INSTANCE_TIMEOUT_S)
        except (InstanceUnavailableError, StaleError) as error:
            log.warning("instance manager rejected the order", app=action.app, because=str(error))
            self.post(on.OrderEnded(action.app, accepted=False))
        else:
            self.post(on.InstanceReported(action.app, status))
            self.post(on.OrderEnded(action.app, accepted=True))

    async def _extend_leases(self) -> None:
        """Extend every application's leases, side by side."""
        async with asyncio.TaskGroup() as tasks:
            for app in self._leases:
                for _ in range(LEASES_AT_ONCE):
                    extend = partial(self._extend_lease, app)
                    tasks.create_task(keep("extend lease", extend, app=app), name=f"extend lease of {app}")

    async def _extend_lease(self, app: App) -> None:
        while True:
            lease = await self._leases[app].take()
            try:
                status = await self._databases[app].lease(
                    lease.epoch, lease.until_s, basis=lease.basis, timeout_s=INSTANCE_TIMEOUT_S
                )
            except (InstanceUnavailableError, StaleError) as error:
                log.warning("failed to extend the instance's lease", app=app, because=str(error))
            else:
                self._extended.set()
                self.post(on.InstanceReported(app, status))

    async def _probe(self, action: do.Probe) -> None:
        vantage = await self._peers.vantage(action.region, timeout_s=action.timeout_s)
        self.post(on.Probed(action.region, vantage))

    async def _update_gateway(self) -> None:
        """Keep the gateway's routes the newest ones, without waiting until it has confirmed older ones."""
        applying: asyncio.Task[None] | None = None
        while True:
            await self._routes_set.wait()
            self._routes_set.clear()
            if self._routes is None:  # services were known first; the routes will bring them along
                continue
            if applying is not None:
                applying.cancel()
            apply = partial(self._apply_routes, self._routes, self._services)
            applying = self._keep("update gateway routes", apply)

    async def _apply_routes(self, routes: do.ApplyRoutes, services: tuple[Exported, ...] | None) -> None:
        """Repeat until the gateway confirms."""
        apply = partial(self._gateway.apply, routes.routes, services, timeout_s=GATEWAY_TIMEOUT_S)
        await retry("update gateway routes", apply, (ROUTES_NOT_APPLIED,))
        self.post(on.RoutesApplied(routes.number))

    async def _move_leader(self, to: Region) -> None:
        try:
            await self._quorum.move_leader(to, timeout_s=SNAPSHOT_TIMEOUT_S)
        except (QuorumUnavailableError, ValueError) as error:
            log.warning("failed to move the store's leader", to=to, because=str(error))
        else:
            log.info("moved the store's leader", to=to)

    # -- watching ---------------------------------------------------------------------------------

    async def _watch_store(self) -> None:
        prefix = keys.fleet_prefix(self.machine.settings.fleet)
        replaced: str | None = None

        async def read() -> Snapshot:
            self._read_again.clear()
            return await self._quorum.snapshot(prefix, timeout_s=SNAPSHOT_TIMEOUT_S)

        while True:
            snapshot = await retry("read the quorum store", read, (STORE_AWAY,))
            self.post(on.SnapshotTaken(snapshot, replaced))
            replaced = None
            try:
                await self._watch_until_read_again(prefix, snapshot.revision)
            except (CompactedError, QuorumUnavailableError) as error:
                log.info("store watch lost; reconnecting", because=repr(error))
            except StoreReplacedError as error:
                replaced = str(error)

    async def _watch_until_read_again(self, prefix: str, after: int) -> None:
        """Watch until the machine asks for a new snapshot. Raises what the watch raises."""

        async def watch() -> None:
            async for change in self._quorum.watch(prefix, after=after):
                self.post(on.StoreChanged(change))

        watching = asyncio.create_task(watch(), name="watch store from a snapshot")
        asked = asyncio.create_task(self._read_again.wait(), name="wait for a request to read the store again")
        try:
            await asyncio.wait((watching, asked), return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                await watching
        finally:
            for task in (watching, asked):
                task.cancel()
            await asyncio.gather(watching, asked, return_exceptions=True)

    async def _try_paths(self) -> None:
        """Use the gateway's paths now and then, until cancelled."""

        async def use() -> None:
            try:
                carried = await self._gateway.carried(timeout_s=PATHS_TIMEOUT_S)
            except GatewayUnavailableError:
                silent = Carried({self.machine.me: "its gateway does not answer"})
                self.post(on.PathsTried(dict.fromkeys(self.machine.apps, silent)))
                raise
            self.post(on.PathsTried(carried))

        await asyncio.sleep(PATHS_EVERY_S)
        await repeat("use the gateway's paths", use, every_s=PATHS_EVERY_S, expected=(GATEWAY_SILENT,))

    async def _try_users_port(self) -> None:
        """Ask the gateway as a user does, until cancelled."""

        async def ask() -> None:
            self.post(on.GatewayTried(await self._gateway.users_problem(timeout_s=USERS_TIMEOUT_S)))

        await repeat("ask the gateway", ask, every_s=USERS_EVERY_S)

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

    def _instance_lost(self, app: App, error: Exception) -> None:
        self.post(on.InstanceLost(app, str(error)))

    async def _watch_pods(self, app: App) -> None:
        async for pods in self._pods.ready(app):
            self.post(on.PodsChanged(app, pods))


def _write_to_log(action: do.ReportStoreRestored | do.LogDecision | do.ReportDefect) -> None:
    match action:
        case do.ReportStoreRestored(because=because):
            log.warning("quorum store went back; lease given up", because=because)
        case do.LogDecision(app=app, because=because):
            log.info("decided", app=app, because=because)
        case do.ReportDefect(app=app, because=because):
            log.error("refused to propose a topology that breaks an invariant", app=app, because=because)
