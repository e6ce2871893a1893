"""Real instance managers on loopback, each with its own PostgreSQL, directly connected to one another."""

import asyncio
import datetime
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from leeward.adapters.postgres.client import InstanceManager
from leeward.core.values import InstanceStatus, Order, Region, Role, Synchronous
from leeward.ports.database import InstanceUnavailableError

OWNER, DATABASE, PASSWORD = "payments", "payments", "it's: a \\secret"
CALL_S = 20.0


def boot_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def free_port() -> int:
    """A port below the ephemeral range that nobody listens on."""
    for port in range(20000 + os.getpid() % 97 * 100, 32000):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
    raise AssertionError("no free port")


_given: set[int] = set()


async def happens(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Wait for a condition; TimeoutError when it never comes."""
    async with asyncio.timeout(timeout_s):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


def each(processes: list[psutil.Process], act: Callable[[psutil.Process], None]) -> None:
    """Act on those that are still there."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            act(process)


def thaw(frozen: list[psutil.Process]) -> None:
    """Wake up what `Node.freeze` stopped."""
    each(frozen, psutil.Process.resume)


class Authority:
    """A fleet's CA that issues identity directories."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test fleet")])
        self._certificate = self._sign(self._name, self._key, authority=True)

    def issue(self, name: str) -> Path:
        directory = self._root / name
        directory.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, san=name)
        (directory / "ca.crt").write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        (directory / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (directory / "tls.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return directory

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        authority: bool = False,
        san: str = "",
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if san:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(san)]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


class Node:
    """One region's instance manager as a process, with its client."""

    def __init__(self, fleet: "Fleet", region: str) -> None:
        self.region = Region(region)
        self.root = fleet.root / region
        self.root.mkdir()
        self.port, self.api_port = free_port(), free_port()
        self.identity = fleet.authority.issue(region)
        self.url = f"https://127.0.0.1:{self.api_port}"
        self.client = InstanceManager(self.url, self.identity, self.region)
        self.process: subprocess.Popen[bytes] | None = None
        self._fleet = fleet

    @property
    def log(self) -> Path:
        return self.root / "manager.log"

    async def start(self) -> None:
        """Start the manager and wait until it answers."""
        self._spawn()
        async with asyncio.timeout(90):
            while True:
                with suppress(InstanceUnavailableError):
                    await self.client.status(timeout_s=CALL_S)
                    return
                assert self.process is not None
                assert self.process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.05)

    def _spawn(self) -> None:
        others = [node for node in self._fleet.nodes.values() if node is not self]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "leeward.adapters.postgres.manager"]
                + ["--region", self.region, "--app", "payments", "--listen", f"127.0.0.1:{self.api_port}"]
                + ["--postgres", f"127.0.0.1:{self.port}", "--data", str(self.root / "volume")]
                + ["--identity", str(self.identity), "--database", DATABASE, "--owner", OWNER]
                + ["--password-file", str(self._fleet.password_file)]
                + ["--replication-password-file", str(self._fleet.password_file)]
                + [f"--upstream={node.region}=127.0.0.1:{node.port}" for node in others],
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
        last: InstanceStatus | None = None
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    with suppress(InstanceUnavailableError):
                        async for last in self.client.changes():
                            if condition(last):
                                return last
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"never happened; last: {last}\n{self.log.read_text()[-6000:]}") from None

    async def out_of_lease(self) -> InstanceStatus:
        """Wait until the end of its lease has stopped PostgreSQL; what it says then tells who did.

        Where the guard's thread starves, as on a busy machine, the kernel's timer ends the manager instead, and a pod
        runner starts it again.
        """
        activity = "stopped by the guard"
        async with asyncio.timeout(90):
            while True:
                assert self.process is not None
                if self.process.poll() == -signal.SIGKILL:
                    await self.start()
                    activity = "waiting for a lease"
                with suppress(InstanceUnavailableError):
                    status = await self.client.status(timeout_s=CALL_S)
                    if status.activity == activity:
                        return status
                await asyncio.sleep(0.02)

    async def order(
        self,
        epoch: int,
        role: Role,
        upstream: "Node | None" = None,
        synchronous: Synchronous | None = None,
    ) -> InstanceStatus:
        region = None if upstream is None else upstream.region
        return await self.client.order(Order(epoch, role, region, synchronous), timeout_s=CALL_S)

    async def settle(
        self,
        epoch: int,
        role: Role,
        upstream: "Node | None" = None,
        synchronous: Synchronous | None = None,
        timeout_s: float = 60.0,
    ) -> InstanceStatus:
        """Order, and wait until it is so."""
        await self.order(epoch, role, upstream, synchronous)
        return await self.until(lambda status: status.settled and status.role is role, timeout_s)

    async def lease(self, epoch: int, duration_s: float) -> float:
        """Grant a lease from now on; return when it ends."""
        until_s = boot_s() + duration_s
        await self.client.lease(epoch, until_s, timeout_s=CALL_S)
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

    async def connect(self, timeout_s: int = 5) -> psycopg.AsyncConnection[tuple[object, ...]]:
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
        async with asyncio.timeout(60), await self.connect(timeout_s=30) as connection:
            await connection.execute(text.encode())

    async def column(self, text: str) -> list[object]:
        async with asyncio.timeout(60), await self.connect(timeout_s=30) as connection:
            cursor = await connection.execute(text.encode())
            return [row[0] for row in await cursor.fetchall()]


class Fleet:
    """Nodes by region, in one temporary directory."""

    def __init__(self, root: Path, regions: tuple[str, ...]) -> None:
        self.root = root
        (root / "identity").mkdir()
        self.authority = Authority(root / "identity")
        self.password_file = root / "password"
        self.password_file.write_text(PASSWORD + "\n")
        self.nodes = {region: Node(self, region) for region in regions}

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
