"""The quorum store of a real world goes back to a backup from before a failover, by the commands of the documentation.

Every acknowledged write is there afterwards, one region is writable, and its epoch is above all there were.
"""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from leeward.adapters.etcd.backup import kept
from tests.kit.waiting import block_until

pytestmark = [pytest.mark.world, pytest.mark.timeout(900)]

LEEWARD = str(Path(sys.executable).parent / "leeward")
ROOT = Path(__file__).parents[2]
PAYMENTS = ROOT / "examples" / "payments"
APP, FLEET, HOST = "payments", "atlas", "payments.payments.example.com"
LOST, ASKED, FAR = "us-east-1", "europe-west1", "japaneast"
PATIENCE_S = 240
REQUEST_TIMEOUT_S = 20
T = TypeVar("T")


class World:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {**os.environ, "LEEWARD_HOME": str(home), "LEEWARD_WORLD": "restored"}
        self.acknowledged: set[str] = set()
        self.gateway_url = ""

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [LEEWARD, *arguments], env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )

    def status(self) -> dict[str, Any]:
        result = self.run("status", "-o", "json")
        assert result.returncode in (0, 1), result.stderr
        document: dict[str, Any] = json.loads(result.stdout)
        return document

    def row(self, but: str = "") -> dict[str, Any]:
        """Return the application once it is steady and writable, elsewhere than in one region; nothing before."""
        rows: list[dict[str, Any]] = self.status()["applications"]
        return next((row for row in rows if row["phase"] == "steady" and row["writable"] and row["primary"] != but), {})

    def gateway(self) -> str:
        """Return the front door of a region that stays."""
        if not self.gateway_url:
            regions = self.status()["world"]["regions"]
            (self.gateway_url,) = (each["gateway_url"] for each in regions if each["name"] == ASKED)
        return self.gateway_url

    def asked(self, path: str, body: object = None, key: str = "") -> tuple[int, Any]:
        headers = {"Host": HOST, "Content-Type": "application/json", "Idempotency-Key": key}
        data = None if body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(f"{self.gateway()}{path}", data, headers)
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, None
        except (OSError, http.client.HTTPException):
            return 0, None

    def written(self, key: str) -> bool:
        order = {"account": "a", "amount_cents": 100, "currency": "EUR"}
        done = self.asked("/api/payments", order, key)[0] in (200, 201)
        self.acknowledged |= {key} if done else set()
        return done

    def found(self) -> set[str]:
        """Return every key that the database has, once it has all that were acknowledged."""
        status, page = self.asked("/api/payments?prefix=k")
        keys = {each["key"] for each in page["payments"]} if status == 200 else set()
        return keys if keys >= self.acknowledged else set()

    def backups(self) -> list[Path]:
        """Return all backups, oldest first."""
        claims = (self.home / "restored" / "regions").glob("*/volumes/leeward-system/leeward-backups")
        each = [backup for claim in claims for backup in kept(claim)]
        return [backup.path for backup in sorted(each, key=lambda backup: backup.revision)]

    @contextmanager
    def standing_still(self, region: str) -> Iterator[None]:
        """Stop a region's API server, and nothing else of it, until the block ends."""
        info = json.loads((self.home / "restored" / "world.json").read_text("utf-8"))
        (pid,) = (each["pid"] for each in info["regions"] if each["name"] == region)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def until(self, condition: Callable[[], T], what: str) -> T:
        return block_until(
            condition,
            lambda: f"{what}\n{self.run('status').stdout}\n{self.run('records').stdout}",
            within_s=PATIENCE_S,
            every_s=0.3,
        )


@pytest.fixture
def world() -> Iterator[World]:
    home = Path(tempfile.mkdtemp(prefix="lw-", dir="/tmp"))
    files = Path(tempfile.mkdtemp(prefix="lw-files-", dir="/tmp"))
    shutil.copytree(PAYMENTS, files, dirs_exist_ok=True)
    for file, old, new in (
        ("application.yaml", "replication: async", "replication: quorum"),
        ("fleet.yaml", "spec:\n", "spec:\n  store: {backupEvery: 10s, backupsKept: 50}\n"),
    ):
        text = (files / file).read_text("utf-8")
        assert old in text
        (files / file).write_text(text.replace(old, new, 1), "utf-8")
    built = World(home)
    try:
        up = built.run("up", str(files), "--timeout", "250s")
        assert up.returncode == 0, up.stderr
        yield built
    finally:
        built.run("down")
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(files, ignore_errors=True)


def documented(**values: str) -> list[list[str]]:
    """Return the commands that the documentation gives for a world, with these values."""
    text = (ROOT / "docs" / "concepts" / "store.md").read_text("utf-8")
    section = text.split("### A world on one machine")[1].split("###")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    lines = [[values.get(word, word) for word in line.split()] for line in block.splitlines()]
    assert all(line[0] == "leeward" for line in lines)
    return [line[1:] for line in lines]


def interrupt_while_stopping(world: World, backup: Path) -> None:
    """Begin a restore, and press Ctrl-C while the members are being stopped: one region does not answer meanwhile."""
    command = [LEEWARD, "restore-store", str(backup), "--confirm", FLEET]
    with subprocess.Popen(command, env=world.environment, stderr=subprocess.PIPE, text=True) as restoring:
        assert restoring.stderr is not None
        with world.standing_still(FAR):
            for line in restoring.stderr:
                if "stopping every member" in line:
                    restoring.send_signal(signal.SIGINT)
                    break
        rest = restoring.stderr.read()
    assert restoring.returncode == 130, rest
    assert "restoring the members' data" in rest


def test_a_store_that_goes_back_behind_a_failover_loses_nothing(world: World) -> None:
    world.until(lambda: world.written("k-founded"), "it accepts writes")
    made = len(world.backups())
    backup = world.until(lambda: world.backups()[made:], "a backup is made after that")[0]
    world.until(lambda: world.written("k-after-backup"), "it accepts writes")
    interrupt_while_stopping(world, backup)
    world.until(lambda: world.written("k-interrupted"), "as if nothing had been asked")
    first = world.until(world.row, "it is steady")

    assert world.run("fault", "kill", "--region", LOST).returncode == 0
    moved = world.until(lambda: world.row(but=LOST), "it has moved")
    assert moved["epoch"] > first["epoch"]
    world.until(lambda: world.written("k-moved"), "it accepts writes elsewhere")

    for command in documented(BACKUP=str(backup), FLEET=FLEET, APP=APP):
        result = world.run(*command)
        assert result.returncode == 0, f"{command}: {result.stderr}"
    assert "StoreRestored" in result.stdout, "the last one shows the decisions"
    restored = world.until(world.row, "it is steady")
    assert restored["epoch"] > moved["epoch"] + 1000, "above every epoch, with room for those nobody has seen"
    world.until(lambda: world.written("k-restored"), "it accepts writes")
    world.until(world.found, "nothing acknowledged is lost")

    # The primary that the backup names comes back, with the restored data of its member.
    assert world.run("fault", "start", "--region", LOST).returncode == 0

    def whole() -> bool:
        status = world.status()
        writable = [each["region"] for each in status["regions"] if each["writable"]]
        return [row["ready"] for row in status["applications"]] == [3] and len(writable) == 1

    world.until(whole, "READY 3/3 with one writer")
    assert world.row().get("epoch", 0) >= restored["epoch"]
    world.until(lambda: world.written("k-whole"), "it accepts writes")
    assert world.until(world.found, "nothing acknowledged is lost") >= world.acknowledged
