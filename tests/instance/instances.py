"""Real instance managers on loopback, each with its own PostgreSQL, directly connected to one another."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import psutil
import psycopg

from leeward.adapters.postgres import InstanceManager
from leeward.core.values import App, Basis, InstanceStatus, Order, Region, Role, Synchronous
from leeward.instance.postgres.waldump import SEGMENT_BYTES
from leeward.instance.settings import ManagerSettings, parse
from leeward.ports.database import Database, InstanceUnavailableError
from leeward.world import identity
from tests.kit.waiting import until

OWNER, DATABASE, PASSWORD = "payments", "payments", "it's: a \\secret"
APP, ELSEWHERE = App("payments"), "elsewhere"
CALL_S = 20.0
PORTS_FROM, PORTS = 20000, 3000


def boot_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def free_port() -> int:
    """A port below the ephemeral range that nobody listens on; suites beside each other have ranges of their own."""
    first = int(os.environ.get("LEEWARD_PORTS_FROM", PORTS_FROM + os.getpid() % 60 * 50))
    for port in range(first, first + PORTS):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
    raise AssertionError("no free port")


_given: set[int] = set()


async def status_of(
    database: Database,
    condition: Callable[[InstanceStatus], bool],
    what: Callable[[], object] = lambda: "a status that meets the condition",
    *,
    within_s: float,
) -> InstanceStatus:
    """Wait for a status that meets the condition, whatever goes unanswered."""
    last: InstanceStatus | None = None

    async def look() -> InstanceStatus | None:
        nonlocal last
        async with aclosing(database.changes()) as changes:
            async for last in changes:
                if condition(last):
                    return last
        return None

    return await until(
        look,
        lambda: f"{what()}\nlast status: {last}",
        within_s=within_s,
        every_s=0.05,
        not_yet=(InstanceUnavailableError,),
    )


def each(processes: list[psutil.Process], act: Callable[[psutil.Process], None]) -> None:
    """Act on those that are still there."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            act(process)


def thaw(frozen: list[psutil.Process]) -> None:
    """Wake up what `Node.freeze` stopped."""
    each(frozen, psutil.Process.resume)


class Identities:
    """Identity directories as a world has them."""

    def __init__(self, root: Path, regions: tuple[str, ...]) -> None:
        self._root = root
        numbers = {region: number for number, region in enumerate((*regions, ELSEWHERE), start=1)}
        self.made = identity.create("test", numbers)

    def agent(self, region: str) -> Path:
        return self.put(f"agent-{region}", self.made.regions[region].agent)

    def operator(self) -> Path:
        return self.put("operator", self.made.operator)

    def instance(self, app: str, region: str) -> Path:
        return self.put(f"instance-{app}-{region}", self.made.instance(app, region))

    def put(self, name: str, files: identity.Files) -> Path:
        identity.put(self._root / name, files)
        return self._root / name


async def basis(database: Database, revision: int | None = None) -> Basis:
    """What an order is decided on by an agent that knows what the instance answers now."""
    status = await database.status(timeout_s=CALL_S)
    return status.basis(status.revision if revision is None else revision)


class Node:
    """One region's instance manager as a process, with its client."""

    def __init__(self, fleet: "Fleet", region: str) -> None:
        self.region = Region(region)
        self.root = fleet.root / region
        self.root.mkdir()
        self.port, self.api_port = free_port(), free_port()
        self.identity = fleet.identities.instance(APP, region)
        self.url = f"https://127.0.0.1:{self.api_port}"
        self.client = InstanceManager(self.url, fleet.identities.agent(region), APP, self.region)
        self.process: subprocess.Popen[bytes] | None = None
        self._options: tuple[str, ...] = ()
        self._fleet = fleet

    @property
    def log(self) -> Path:
        return self.root / "manager.log"

    async def start(self) -> None:
        """Start the manager and wait until it answers."""
        self._spawn()

        async def answer() -> InstanceStatus:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            return await self.client.status(timeout_s=CALL_S)

        await until(answer, within_s=90, every_s=0.05, not_yet=(InstanceUnavailableError,))

    def _arguments(self) -> list[str]:
        others = [node for node in self._fleet.nodes.values() if node is not self and node not in self._fleet.left]
        return [
            *("--region", self.region, "--app", APP, "--listen", f"127.0.0.1:{self.api_port}"),
            *("--postgres", f"127.0.0.1:{self.port}", "--data", str(self.root / "volume")),
            *("--identity", str(self.identity), "--database", DATABASE, "--owner", OWNER),
            *("--password-file", str(self._fleet.password_file)),
            *("--replication-password-file", str(self._fleet.password_file)),
            *(f"--upstream={node.region}=127.0.0.1:{node.port}" for node in others),
            *self._options,
        ]

    @property
    def settings(self) -> ManagerSettings:
        """The manager's settings, to open sessions as it does."""
        return parse(self._arguments())

    async def restart(self, *options: str) -> None:
        """Stop the manager and start it with more options, now and from now on."""
        self.stop()
        self._options = options
        await self.start()

    def _spawn(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "leeward.instance.manager", *self._arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def tree(self) -> list[psutil.Process]:
        """The manager and everything below it."""
        assert self.process is not None
        manager = psutil.Process(self.process.pid)
        return [manager, *manager.children(recursive=True)]

    def freeze(self) -> list[psutil.Process]:
        """Stop all of it, what is started meanwhile included, and return what `thaw` wakes up.

        A manager also starts programs that end by themselves, and may do so between two looks.
        """
        frozen: list[psutil.Process] = []
        while fresh := [process for process in self.tree() if process not in frozen]:
            each(fresh, psutil.Process.suspend)
            frozen += fresh
        return frozen

    def postgres(self) -> list[psutil.Process]:
        """Every process of PostgreSQL, the postmaster first."""
        found = []
        for process in self.tree():
            with suppress(psutil.NoSuchProcess):
                if process.name() == "postgres":
                    found.append(process)
        return found

    def postmaster(self) -> psutil.Process:
        return self.postgres()[0]

    def prepare_segments(self) -> None:
        """Add WAL segments as PostgreSQL prepares them, all zero, until the directory lists one before all others."""
        directory = self.root / "volume" / "pgdata" / "pg_wal"
        for number in range(0x50, 0x100):
            with (directory / f"{1:08X}{0:08X}{number:08X}").open("wb") as file:
                file.truncate(SEGMENT_BYTES)
            first = next(name for name in os.listdir(directory) if re.fullmatch("[0-9A-F]{24}", name))
            with (directory / first).open("rb") as file:
                if not any(file.read(8192)):
                    return
        raise AssertionError("no prepared segment is listed first")

    def leave(self) -> None:
        """Stop, and be no upstream of the others any more once they start again."""
        self.stop()
        self._fleet.left.append(self)

    def kill(self) -> None:
        """SIGKILL to the manager alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        """End the manager as a pod runner would."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    async def until(self, condition: Callable[[InstanceStatus], bool], timeout_s: float = 60.0) -> InstanceStatus:
        """Wait for a status that meets the condition; say the last one otherwise."""
        return await status_of(self.client, condition, lambda: self.log.read_text()[-6000:], within_s=timeout_s)

    async def out_of_lease(self) -> InstanceStatus:
        """Wait until the end of its lease has stopped PostgreSQL; what it says then tells who did.

        Where the guard's thread starves, as on a busy machine, the kernel's timer ends the manager instead, and a pod
        runner starts it again.
        """
        activity = "stopped by the guard"

        async def look() -> InstanceStatus:
            nonlocal activity
            assert self.process is not None
            if self.process.poll() == -signal.SIGKILL:
                await self.start()
                activity = "waiting for a lease"
            return await self.client.status(timeout_s=CALL_S)

        return await until(
            look,
            "the end of the lease stops PostgreSQL",
            accept=lambda status: status.activity == activity,
            within_s=90,
            not_yet=(InstanceUnavailableError,),
        )

    async def order(
        self,
        epoch: int,
        role: Role,
        upstream: "Node | None" = None,
        synchronous: Synchronous | None = None,
        revision: int | None = None,
        founding: bool | None = None,
    ) -> InstanceStatus:
        """Order, decided on what the instance answers now and on this revision of the topology: the last one's.

        The primary of the first epoch creates the database where there is none, unless ``founding`` says otherwise.
        """
        region = None if upstream is None else upstream.region
        basis = await self.basis(revision)
        if founding is None:
            founding = epoch == 1 and role is Role.PRIMARY
        order = Order(epoch, role, region, synchronous, founding=founding)
        return await self.client.order(order, basis=basis, timeout_s=CALL_S)

    async def basis(self, revision: int | None = None) -> Basis:
        """What an order is decided on now."""
        return await basis(self.client, revision)

    async def settle(
        self,
        epoch: int,
        role: Role,
        upstream: "Node | None" = None,
        synchronous: Synchronous | None = None,
        timeout_s: float = 60.0,
        revision: int | None = None,
    ) -> InstanceStatus:
        """Order, and wait until it is so; a primary is settled a moment before it admits the application."""
        await self.order(epoch, role, upstream, synchronous, revision)
        return await self.until(
            lambda status: status.settled and status.role is role and (status.writable or role is not Role.PRIMARY),
            timeout_s,
        )

    async def lease(self, epoch: int, duration_s: float) -> float:
        """Grant a lease from now on; return when it ends."""
        until_s = boot_s() + duration_s
        await self.client.lease(epoch, until_s, basis=await self.basis(), timeout_s=CALL_S)
        return until_s

    @asynccontextmanager
    async def leased(self, epoch: int, duration_s: float = 60.0) -> AsyncIterator[None]:
        """Renew a lease as an agent does, for as long as the block lasts.

        Longer than an agent's: it must not end because the tests' process or the manager is not scheduled for a while.
        """

        async def renew() -> None:
            while True:
                with suppress(InstanceUnavailableError):
                    await self.lease(epoch, duration_s)
                await asyncio.sleep(0.5)

        task = asyncio.create_task(renew())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def connect(self, timeout_s: int = 30) -> psycopg.AsyncConnection[tuple[object, ...]]:
        """Connect as the application does."""
        return await psycopg.AsyncConnection.connect(
            host="127.0.0.1",
            port=self.port,
            user=OWNER,
            password=PASSWORD,
            dbname=DATABASE,
            sslmode="disable",
            connect_timeout=timeout_s,
            autocommit=True,
        )

    async def execute(self, text: str) -> None:
        async with asyncio.timeout(60), await self.connect() as connection:
            await connection.execute(text.encode())

    async def column(self, text: str) -> list[object]:
        async with asyncio.timeout(60), await self.connect() as connection:
            cursor = await connection.execute(text.encode())
            return [row[0] for row in await cursor.fetchall()]


class Fleet:
    """Nodes by region, in one temporary directory."""

    def __init__(self, root: Path, regions: tuple[str, ...]) -> None:
        self.root = root
        self.identities = Identities(root / "identity", regions)
        self.password_file = root / "password"
        self.password_file.write_text(PASSWORD + "\n")
        self.nodes = {region: Node(self, region) for region in regions}
        self.left: list[Node] = []
        """Of whom managers that start from now on are told nothing."""

    async def start(self) -> tuple[Node, ...]:
        nodes = tuple(self.nodes.values())
        await asyncio.gather(*(node.start() for node in nodes))
        return nodes

    async def close(self) -> None:
        await asyncio.gather(*(asyncio.to_thread(node.stop) for node in self.nodes.values()))
        for node in self.nodes.values():
            await node.client.close()


async def lead(node: Node, epoch: int = 1, synchronous: Synchronous | None = None) -> None:
    """Make a node the primary; the caller goes on renewing the lease."""
    await node.order(epoch, Role.PRIMARY, synchronous=synchronous)
    await node.until(lambda status: status.writable)
