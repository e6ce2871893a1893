"""A running world of an example's files, as an operator and as the application's clients use it."""

import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.kit.waiting import block_until

LEEWARD = str(Path(sys.executable).parent / "leeward")
PAYMENTS = Path(__file__).parents[2] / "examples" / "payments"
UP_TIMEOUT_S = 250
PATIENCE_S = 120.0
REQUEST_TIMEOUT_S = 20.0
CONNECT_TIMEOUT_S = 15
LONGER = {"rto: 5s": "rto: 60s", "rpo: 5s": "rpo: 20s"}
STALL_MAX_S = 5.0
"""The RTO of the file as it is: a patient primary may stand still for longer, and users must not notice that either."""
NOT_CONNECTED = 75
T = TypeVar("T")
_CONNECT = f"""
import itertools, json, sys, time
import psycopg
def not_connected(error):
    print(error, file=sys.stderr)
    sys.exit({NOT_CONNECTED})
settings, statement = json.loads(sys.stdin.readline())
try:
    connection = psycopg.connect(**settings, connect_timeout={CONNECT_TIMEOUT_S}, autocommit=True)
except psycopg.OperationalError as error:
    not_connected(error)
"""
_ONCE = """
try:
    cursor = connection.execute(statement)
    while cursor.nextset():
        pass
except psycopg.OperationalError as error:
    # The server ends the session, or the line is cut.
    if connection.closed or (error.sqlstate or "").startswith("57P"):
        not_connected(error)
    raise
print(json.dumps(cursor.fetchall() if cursor.description else [], default=str))
"""
_OPEN = """
connection.execute("BEGIN")
connection.execute(statement)
connection.execute("SELECT pg_catalog.pg_sleep(600)")
"""
_REPEATED = """
for number in itertools.count():
    connection.execute(statement, (number,))
    print(number, flush=True)
    time.sleep(0.02)
"""


class NotConnectedError(AssertionError):
    """PostgreSQL could not be asked, or did not answer: not what it thinks of the statement."""


def patient(application: str) -> str:
    """Return an Application file whose primary may stand still for 10 s, and is replaced after 28 s.

    For tests in which nothing may move by itself. The file's own 2 s are what a busy machine takes.
    """
    for given, longer in LONGER.items():
        assert given in application
        application = application.replace(given, longer, 1)
    return application


def copied(files: Path, changed: Callable[[str], str] = str) -> Path:
    """Copy examples/payments into a directory, its Application file changed; return the directory."""
    shutil.copytree(PAYMENTS, files, dirs_exist_ok=True)
    application = files / "application.yaml"
    application.write_text(changed(application.read_text("utf-8")), "utf-8")
    return files


class Running:
    """One world, its files and its command line."""

    def __init__(self, name: str, home: Path, files: Path) -> None:
        self.files = files
        self.directory = home / name
        self._environment = {**os.environ, "LEEWARD_HOME": str(home), "LEEWARD_WORLD": name}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [LEEWARD, *arguments], env=self._environment, capture_output=True, text=True, timeout=300, check=False
        )

    def done(self, *arguments: str) -> str:
        """Run a command that must succeed; return what it printed."""
        result = self.run(*arguments)
        assert result.returncode == 0, f"leeward {' '.join(arguments)}\n{result.stdout}{result.stderr}"
        return result.stdout

    def status(self) -> dict[str, Any]:
        """Return the status, as far as any agent answers in time."""
        result = self.run("status", "-o", "json")
        assert result.returncode in (0, 1), result.stderr
        document: dict[str, Any] = json.loads(result.stdout)
        return document

    def payments(self) -> dict[str, Any]:
        """Return the application's row; nothing while no agent knows it."""
        found: dict[str, Any] = next(iter(self.status()["applications"]), {})
        return found

    def conditions(self) -> dict[str, tuple[str, str]]:
        return {each["type"]: (each["status"], each["reason"]) for each in self.payments().get("conditions", ())}

    def records(self) -> list[dict[str, Any]]:
        result = self.run("records", "payments", "-o", "json")
        found: list[dict[str, Any]] = json.loads(result.stdout)["decisions"] if result.returncode == 0 else []
        return found

    def reasons(self) -> list[str]:
        return [record["reason"] for record in self.records() if "reason" in record]

    def until(self, condition: Callable[[], T], what: str) -> T:
        """Return what the condition returns, once it holds; a database that cannot be asked may be so later."""
        return block_until(
            condition,
            lambda: f"{what}\n{self.run('status').stdout}\n{self.run('records').stdout}",
            within_s=PATIENCE_S,
            every_s=0.3,
            not_yet=(NotConnectedError,),
        )

    def settled(self) -> dict[str, Any]:
        """Return the row once the primary accepts writes and every standby streams from it."""

        def row() -> dict[str, Any]:
            found = self.payments()
            ok = {each["type"]: each["status"] for each in found.get("conditions", ())}
            steady = found.get("phase") == "steady" and found["changing"] is None
            return found if steady and ok["PrimaryWritable"] == ok["Replicating"] == "True" else {}

        return self.until(row, "the primary accepts writes and every standby streams")

    def urls(self, kind: str = "gateway_url") -> dict[str, str]:
        info = json.loads((self.directory / "world.json").read_text("utf-8"))
        return {each["name"]: each[kind] for each in info["regions"]}

    def metrics(self, region: str) -> str:
        """Return what a region's agent exports; nothing when it does not answer in time."""
        operator = self.directory / "operator"
        tls = ssl.create_default_context(cafile=operator / "ca.crt")
        tls.check_hostname = False
        tls.load_cert_chain(operator / "tls.crt", operator / "tls.key")
        url = f"{self.urls('agent_url')[region]}/metrics"
        try:
            with urllib.request.urlopen(url, context=tls, timeout=REQUEST_TIMEOUT_S) as answer:
                return str(answer.read().decode())
        except (OSError, http.client.HTTPException):
            return ""

    def sql(self, region: str, statement: str, *, host: str = "gateway", options: str = "") -> list[tuple[Any, ...]]:
        """Run statements as the application's role, from inside a region; return what the last one returns.

        ``host``: ``gateway`` leads to the primary, ``local`` is the region's own PostgreSQL.
        Raises NotConnectedError, and AssertionError with PostgreSQL's words.
        """
        with self._session(region, statement, _ONCE, host, options) as session:
            try:
                out, error = session.communicate(timeout=REQUEST_TIMEOUT_S)
            except subprocess.TimeoutExpired as late:
                session.kill()
                raise NotConnectedError(f"no answer within {REQUEST_TIMEOUT_S:g} s") from late
        if session.returncode == NOT_CONNECTED:
            raise NotConnectedError(error)
        assert session.returncode == 0, error
        rows: list[list[Any]] = json.loads(out)
        return [tuple(row) for row in rows]

    def background(
        self, region: str, statement: str, *, host: str = "gateway", repeated: bool = False
    ) -> subprocess.Popen[str]:
        """Run a statement until PostgreSQL ends the session: once in an open transaction, or with 0, 1, 2 ...

        A repeated one prints each number that was acknowledged.
        """
        return self._session(region, statement, _REPEATED if repeated else _OPEN, host, "")

    def _session(self, region: str, statement: str, script: str, host: str, options: str) -> subprocess.Popen[str]:
        info = json.loads((self.directory / "world.json").read_text("utf-8"))
        (here,) = (each for each in info["regions"] if each["name"] == region)
        manifests = self.directory / "regions" / region / "manifests" / "objects.json"
        (password,) = {
            item["stringData"]["password"]
            for item in json.loads(manifests.read_text("utf-8"))
            if (item["kind"], item["metadata"]["name"]) == ("Secret", "payments-database")
        }
        settings = {
            "host": f"127.10.{here['index']}.{5 if host == 'local' else 2}",
            "user": "payments",
            "dbname": "payments",
            "password": password,
            "options": options,
        }
        user = ["--user", "--preserve-credentials"] if info["isolation"] == "user-namespace" else []
        session = subprocess.Popen(
            ["nsenter", "--target", str(here["pid"]), *user, "--net", sys.executable, "-c", _CONNECT + script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert session.stdin is not None
        session.stdin.write(json.dumps([settings, statement]) + "\n")
        session.stdin.flush()
        return session

    def pay(self, region: str, key: str) -> bool:
        """Write through a region's gateway; whether it was acknowledged."""
        body = json.dumps({"account": "a", "amount_cents": 100, "currency": "EUR"}).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        request = urllib.request.Request(f"{self.urls()[region]}/api/payments", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as answer:
                return answer.status in (200, 201)
        except (OSError, http.client.HTTPException):
            return False

    def found(self, region: str, prefix: str) -> set[str]:
        """Return the keys that the primary has. Raises AssertionError when it does not answer for long."""
        keys: set[str] = set()
        after = ""
        while True:
            page = self.until(partial(self._page, region, prefix, after), "the primary lists payments")[0]
            if not page:
                return keys
            keys |= {*page}
            after = max(page)

    def _page(self, region: str, prefix: str, after: str) -> tuple[list[str], ...]:
        url = f"{self.urls()[region]}/api/payments?prefix={prefix}&after={after}"
        try:
            with urllib.request.urlopen(url, timeout=REQUEST_TIMEOUT_S) as answer:
                return ([each["key"] for each in json.load(answer)["payments"]],)
        except (OSError, urllib.error.HTTPError, http.client.HTTPException):
            return ()


class Writer:
    """Writes through one region's gateway without a pause; remembers every key that was acknowledged."""

    def __init__(self, world: Running, region: str, prefix: str) -> None:
        self.acknowledged: set[str] = set()
        self.failed = 0
        """Requests that were not acknowledged."""
        self.longest_gap_s = 0.0
        """Between two acknowledged writes, and until the end: a stall that moves no primary shows here."""
        self._world, self._region, self._prefix = world, region, prefix
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        number, last_s = 0, time.monotonic()
        while not self._stop.is_set():
            key = f"{self._prefix}{number:06}"
            paid = self._world.pay(self._region, key)
            self.longest_gap_s = max(self.longest_gap_s, time.monotonic() - last_s)
            if paid:
                self.acknowledged.add(key)
                number, last_s = number + 1, time.monotonic()
            else:
                self.failed += 1
            self._stop.wait(0.02)


@contextmanager
def running(name: str, changed: Callable[[str], str] = str) -> Iterator[Running]:
    """Yield a world of examples/payments whose Application file was changed first."""
    home = Path(tempfile.mkdtemp(prefix="lw-", dir="/tmp"))
    files = Path(tempfile.mkdtemp(prefix="lw-files-", dir="/tmp"))
    world = Running(name, home, copied(files, changed))
    try:
        world.done("up", str(files), "--timeout", f"{UP_TIMEOUT_S}s")
        yield world
    finally:
        world.run("down")
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(files, ignore_errors=True)
