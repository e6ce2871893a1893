"""The instance manager: a program that owns exactly one PostgreSQL and serves its region's agent.

Its API is in docs/concepts/world.md. It stops PostgreSQL cleanly on SIGTERM; on any other end of its own
the kernel ends PostgreSQL with it (``init``).
"""

import asyncio
import contextlib
import os
import signal
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import structlog
from aiohttp import web

from leeward.core.codec import DecodeError, decode, encode
from leeward.instance import durability, identity, state, volume
from leeward.instance.guard import Guard, Lease
from leeward.instance.instance import Instance
from leeward.instance.machine.acceptance import StaleOrderError, check
from leeward.instance.orphans.save import saved
from leeward.instance.postgres.data import DataDirectory
from leeward.instance.postgres.server import Server
from leeward.instance.reconcile import Reconciler
from leeward.instance.requests import REFUSED, VERSION, LeaseRequest, OrderRequest, Refused
from leeward.instance.settings import ManagerSettings, SettingsError, parse
from leeward.instance.status import Publisher
from leeward.instance.walrelay.proxy import WalProxy
from leeward.kit import logs
from leeward.kit.http.answers import answered
from leeward.kit.http.bodies import BodyLimits, bounded
from leeward.kit.http.questions import seconds, shown, whole_number
from leeward.kit.http.refusals import Refusals
from leeward.kit.http.serving import HttpServer
from leeward.kit.http.tls import server
from leeward.kit.kernel import enter_user_namespace, hiding_works, namespaces_work, run_ahead

_WAIT_MAX_S = 30.0
_BODY_MAX = 256 * 1024
"""Bytes: an order names every region of the fleet."""
_UNTIL_MAX_S = 2.0**31
"""Of a boot clock: 68 years. Timers and waits take no more."""
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger("leeward.postgres")


class Api:
    """The HTTP handlers."""

    def __init__(
        self,
        settings: ManagerSettings,
        instance: Instance,
        reconciler: Reconciler,
        publisher: Publisher,
        refusals: Refusals,
    ) -> None:
        self._region = settings.region
        self._refusals = refusals
        self._instance = instance
        self._reconciler = reconciler
        self._publisher = publisher

    def application(self) -> web.Application:
        """Return the application to serve."""
        # The body of an unauthorized client is not read.
        middlewares = [answered(_refusal), self._authorize, bounded(BodyLimits(_BODY_MAX), _refusal)]
        application = web.Application(middlewares=middlewares, client_max_size=_BODY_MAX)
        application.router.add_get("/v1/status", self._status)
        application.router.add_put("/v1/order", self._order)
        application.router.add_put("/v1/lease", self._lease)
        return application

    @web.middleware
    async def _authorize(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        transport = request.transport
        certificate = None if transport is None else transport.get_extra_info("peercert")
        if not identity.may_order(certificate, self._region):
            because = "only this region's agent and operators are allowed"
            self._refusals.not_permitted(request, because)
            return _refusal(403, "forbidden", because)
        return await handler(request)

    async def _status(self, request: web.Request) -> web.Response:
        after = whole_number(request, "after")
        wait_s = seconds(request, "wait_s", at_most=_WAIT_MAX_S) or 0.0
        if after is not None and wait_s > 0:
            await self._publisher.wait(after, wait_s)
        return self._answer()

    async def _order(self, request: web.Request) -> web.Response:
        try:
            asked = decode(OrderRequest, await request.read())
            await self._reconciler.accept(asked.order, asked.basis)
        except DecodeError as error:
            return _refusal(400, "bad-request", shown(str(error)))
        except StaleOrderError as error:
            return _refusal(409, "stale", str(error))
        return self._answer()

    async def _lease(self, request: web.Request) -> web.Response:
        try:
            lease = decode(LeaseRequest, await request.read())
        except DecodeError as error:
            return _refusal(400, "bad-request", shown(str(error)))
        # Written so that NaN is refused, too.
        if not abs(lease.until_s) <= _UNTIL_MAX_S:
            return _refusal(400, "bad-request", "until_s is not a valid boot clock time")
        try:
            check(self._instance.state, lease.epoch, lease.basis, self._instance.incarnation)
        except StaleOrderError as error:
            return _refusal(409, "stale", str(error))
        self._instance.guard.extend(Lease(lease.epoch, lease.until_s))
        status, _ = self._publisher.current()
        if not status.writable:
            self._reconciler.wake()
        return self._answer()

    def _answer(self) -> web.Response:
        status, version = self._publisher.current()
        headers = {VERSION: str(version), REFUSED: encode(Refused(dict(self._refusals.counts)))}
        return web.Response(text=encode(status), content_type="application/json", headers=headers)


def _refusal(status: int, code: str, message: str) -> web.Response:
    return web.Response(status=status, text=encode({"code": code, "message": message}), content_type="application/json")


async def serve(settings: ManagerSettings, *, isolated: bool, hidden: Sequence[Path]) -> None:
    """Run until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    wakers: list[Callable[[], None]] = []

    def wake() -> None:
        for waker in wakers:
            waker()

    layout = settings.layout
    layout.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    replication_password = settings.replication_password_file.read_text(encoding="utf-8").strip()
    owner_password = settings.password_file.read_text(encoding="utf-8").strip()

    def stopped_by_guard() -> None:
        instance.memory = replace(instance.memory, stopped_by_guard=True)
        instance.activity = "stopped by the guard"
        log.warning("stopped by the guard", region=settings.region, epoch=instance.state.epoch)
        wake()

    guard = Guard(lambda: _call_soon(loop, stopped_by_guard))
    incarnation = uuid.uuid4().hex
    publisher = Publisher(settings, guard, incarnation)
    proxy = WalProxy(settings, replication_password)
    data = DataDirectory(settings, isolated=isolated, owner=owner_password, replication=replication_password)
    known = state.load(layout.state)
    instance = Instance(
        settings,
        # Also where the state file was lost: what a rewind has left half changed must not be started.
        replace(known, incomplete=True) if data.rewind_interrupted else known,
        guard,
        Server(settings, isolated=isolated, hidden=hidden, exited=wake),
        data,
        publisher,
        proxy,
        incarnation=incarnation,
        isolated=isolated,
        replication_password=replication_password,
    )
    instance.orphans = saved(layout.orphans)
    reconciler = Reconciler(instance)
    wakers.append(reconciler.wake)
    refusals = Refusals(f"instance-{settings.app}")
    api = Api(settings, instance, reconciler, publisher, refusals).application()
    tls = server(settings.identity_dir)
    served = contextlib.AsyncExitStack()
    await served.enter_async_context(HttpServer(api, settings.listen.host, settings.listen.port, tls, refusals))
    await proxy.start()
    log.info("serving", region=settings.region, app=settings.app, isolated=isolated)
    converging = asyncio.create_task(reconciler.run(), name="reconcile")
    watching = asyncio.create_task(durability.watch(instance, publisher), name="watch-durability")
    measuring = asyncio.create_task(volume.watch(instance, publisher), name="measure-volume")
    stopping = asyncio.create_task(ending.wait(), name="wait-for-the-end")
    try:
        await asyncio.wait({converging, watching, measuring, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for required in (converging, watching, measuring):
            if required.done():
                required.result()
    finally:
        for task in (converging, watching, measuring, stopping):
            task.cancel()
        await asyncio.gather(converging, watching, measuring, stopping, return_exceptions=True)
        await reconciler.close()
        await proxy.close()
        guard.close()
        await served.aclose()


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback)


def main() -> int:
    """Run the program; 2 when it cannot start."""
    logs.configure("instance-manager")
    if not run_ahead():
        because = "the kernel permits no higher one: on a busy machine PostgreSQL may outlive its lease by some moments"
        log.warning("the lease guard has the priority of an ordinary process", because=because)
    try:
        settings = parse(sys.argv[1:])
        logs.configure("instance-manager", region=settings.region, application=settings.app)
        if os.geteuid() == 0:
            enter_user_namespace(new_pids=False)
    except SettingsError as error:
        log.error("cannot start", because=str(error))
        return 2
    except OSError as error:
        log.error(
            "cannot start", because=f"PostgreSQL refuses to run as root, and creating a user namespace failed: {error}"
        )
        return 2
    hidden = settings.secrets if hiding_works(map(str, settings.secrets)) else ()
    if not hidden:
        log.warning("PostgreSQL can read the manager's secrets", because="the kernel refused a mount namespace")
    asyncio.run(serve(settings, isolated=namespaces_work(), hidden=hidden))
    return 0


if __name__ == "__main__":
    sys.exit(main())
