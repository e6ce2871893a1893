"""The instance manager: a program that owns exactly one PostgreSQL and answers its region's agent.

Its API is in docs/concepts/world.md. It stops PostgreSQL cleanly on SIGTERM; on any other end of its own
the kernel ends PostgreSQL with it (``init``).
"""

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from aiohttp import web

from leeward.adapters.postgres import identity, orphans, state
from leeward.adapters.postgres.courier import Courier
from leeward.adapters.postgres.data import DataDirectory
from leeward.adapters.postgres.guard import Guard, Lease
from leeward.adapters.postgres.instance import Instance
from leeward.adapters.postgres.kernel import enter_user_namespace, namespaces_work
from leeward.adapters.postgres.reconcile import Reconciler, StaleError
from leeward.adapters.postgres.server import Server
from leeward.adapters.postgres.settings import ManagerSettings, SettingsError, parse
from leeward.adapters.postgres.status import Publisher
from leeward.core.codec import DecodeError, decode, encode
from leeward.core.values import Order

_WAIT_MAX_S = 30.0
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger("leeward.postgres")


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """The body of PUT /v1/lease."""

    epoch: int
    until_s: float


class Api:
    """The HTTP handlers."""

    def __init__(
        self, settings: ManagerSettings, instance: Instance, reconciler: Reconciler, publisher: Publisher
    ) -> None:
        self._allowed = {settings.region, identity.OPERATOR}
        self._instance = instance
        self._reconciler = reconciler
        self._publisher = publisher

    def application(self) -> web.Application:
        """Return the application to serve."""
        application = web.Application(middlewares=[self._authorize])
        application.router.add_get("/v1/status", self._status)
        application.router.add_put("/v1/order", self._order)
        application.router.add_put("/v1/lease", self._lease)
        return application

    @web.middleware
    async def _authorize(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        transport = request.transport
        certificate = None if transport is None else transport.get_extra_info("peercert")
        if identity.common_name(certificate) not in self._allowed:
            return _refusal(403, "forbidden", "only this region's agent and the operator are served")
        return await handler(request)

    async def _status(self, request: web.Request) -> web.Response:
        try:
            after = int(request.query["after"]) if "after" in request.query else None
            wait_s = min(float(request.query.get("wait_s", "0")), _WAIT_MAX_S)
        except ValueError as error:
            return _refusal(400, "bad-request", str(error))
        if after is not None and wait_s > 0:
            await self._publisher.wait(after, wait_s)
        return self._answer()

    async def _order(self, request: web.Request) -> web.Response:
        try:
            await self._reconciler.accept(decode(Order, await request.read()))
        except DecodeError as error:
            return _refusal(400, "bad-request", str(error))
        except StaleError as error:
            return _refusal(409, "stale-epoch", str(error))
        return self._answer()

    async def _lease(self, request: web.Request) -> web.Response:
        try:
            lease = decode(LeaseRequest, await request.read())
        except DecodeError as error:
            return _refusal(400, "bad-request", str(error))
        accepted = self._instance.state.epoch
        if lease.epoch < accepted:
            return _refusal(409, "stale-epoch", f"epoch {lease.epoch} is older than {accepted}")
        self._instance.guard.extend(Lease(lease.epoch, lease.until_s))
        status, _ = self._publisher.current()
        if not status.writable:
            self._reconciler.wake()
        return self._answer()

    def _answer(self) -> web.Response:
        status, version = self._publisher.current()
        return web.Response(text=encode(status), content_type="application/json", headers={"X-Version": str(version)})


def _refusal(status: int, code: str, message: str) -> web.Response:
    return web.Response(status=status, text=encode({"code": code, "message": message}), content_type="application/json")


async def serve(settings: ManagerSettings, *, isolated: bool) -> None:
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
        instance.progress.activity = "stopped by the guard"
        log.warning("stopped by the guard", region=settings.region, epoch=instance.state.epoch)
        wake()

    guard = Guard(lambda: _call_soon(loop, stopped_by_guard))
    publisher = Publisher(settings, guard, incarnation=uuid.uuid4().hex)
    instance = Instance(
        settings,
        state.load(layout.state),
        guard,
        Server(settings, isolated=isolated, exited=wake),
        DataDirectory(settings, isolated=isolated, owner=owner_password, replication=replication_password),
        publisher,
        isolated=isolated,
        replication_password=replication_password,
    )
    instance.progress.orphans = orphans.saved(layout.orphans)
    reconciler = Reconciler(instance)
    wakers.append(reconciler.wake)
    runner = web.AppRunner(
        Api(settings, instance, reconciler, publisher).application(), access_log=None, shutdown_timeout=1.0
    )
    await runner.setup()
    site = web.TCPSite(
        runner,
        settings.listen.host,
        settings.listen.port,
        ssl_context=identity.server_context(settings.identity_dir),
        reuse_address=True,
    )
    await site.start()
    courier = Courier(settings, replication_password)
    await courier.start()
    log.info("serving", region=settings.region, app=settings.app, isolated=isolated)
    converging = asyncio.create_task(reconciler.run(), name="reconcile")
    stopping = asyncio.create_task(ending.wait(), name="wait-for-the-end")
    try:
        await asyncio.wait({converging, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if converging.done():
            converging.result()
    finally:
        for task in (converging, stopping):
            task.cancel()
        await asyncio.gather(converging, stopping, return_exceptions=True)
        await reconciler.close()
        await courier.close()
        guard.close()
        await runner.cleanup()


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback)


def main() -> int:
    """Run the program; 2 when it cannot start."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    try:
        settings = parse(sys.argv[1:])
        if os.geteuid() == 0:
            enter_user_namespace(new_pids=False)
    except SettingsError as error:
        log.error("cannot start", because=str(error))
        return 2
    except OSError as error:
        log.error("cannot start", because=f"PostgreSQL refuses to run as root, and a user namespace: {error}")
        return 2
    asyncio.run(serve(settings, isolated=namespaces_work()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
