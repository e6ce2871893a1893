"""Two applications in one real world: each has its own database, primary, gateway ports, routes and name.

The region that is primary of both dies. Both go on, each where its own placement allows, and neither ever sees a write
of the other. How fast is what drills measure.
"""

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.kit.waiting import block_until
from tests.world.running import copied, patient

pytestmark = [pytest.mark.world, pytest.mark.timeout(1500)]

LEEWARD = str(Path(sys.executable).parent / "leeward")
LOST, ASKED, FAR = "us-east-1", "europe-west1", "japaneast"
AMOUNTS = {"payments": 100, "orders": 200}
PATIENCE_S = 240
REQUEST_TIMEOUT_S = 20
T = TypeVar("T")


class World:
    def __init__(self, home: Path) -> None:
        self._environment = {**os.environ, "LEEWARD_HOME": str(home)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [LEEWARD, *arguments, "--world", "several"],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def status(self, *arguments: str) -> dict[str, Any]:
        """Return the status, as far as any agent answers in time."""
        result = self.run("status", *arguments, "-o", "json")
        assert result.returncode in (0, 1), result.stderr
        document: dict[str, Any] = json.loads(result.stdout)
        return document

    def primaries(self) -> dict[str, str | None]:
        return {row["name"]: row["primary"] for row in self.status()["applications"] if row["phase"] == "steady"}

    def asked(self, host: str, path: str, body: object = None, key: str = "") -> tuple[int, Any]:
        """Ask one region's gateway for an application, by its public name."""
        (url,) = (each["gateway_url"] for each in self.status()["world"]["regions"] if each["name"] == ASKED)
        headers = {"Host": host, "Content-Type": "application/json", "Idempotency-Key": key}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{url}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, None
        except (OSError, http.client.HTTPException):
            return 0, None

    def written(self, app: str, key: str) -> bool:
        """Write to an application, with an amount of its own; whether it was acknowledged."""
        order = {"account": "a", "amount_cents": AMOUNTS[app], "currency": "EUR"}
        status, payment = self.asked(f"{app}.payments.example.com", "/api/payments", order, key)
        assert status not in (200, 201) or payment["amount_cents"] == AMOUNTS[app], "another application's"
        assert status != 409, "another application wrote under this key"
        return status in (200, 201)

    def found(self, app: str, *keys: str) -> dict[str, int]:
        """Return every key that an application's database has, with its amount; nothing without those."""
        status, page = self.asked(f"{app}.payments.example.com", "/api/payments?prefix=k")
        rows = {each["key"]: each["amount_cents"] for each in page["payments"]} if status == 200 else {}
        return rows if rows.keys() >= {*keys} else {}

    def reasons(self, app: str) -> set[str]:
        result = self.run("records", app, "-o", "json")
        return {each["reason"] for each in json.loads(result.stdout)["decisions"]} if result.returncode == 0 else set()

    def until(self, condition: Callable[[], T], what: str) -> T:
        return block_until(
            condition,
            lambda: f"{what}\n{self.run('status').stdout}\n{self.run('records').stdout}",
            within_s=PATIENCE_S,
            every_s=0.5,
        )


def moved_from(region: str, primaries: dict[str, str | None]) -> dict[str, str | None]:
    """Return where the primaries are; nothing while one of them is unknown, or in the region."""
    return primaries if {*primaries} == {*AMOUNTS} and region not in primaries.values() else {}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    home = Path(tempfile.mkdtemp(prefix="lw-", dir="/tmp"))
    files = Path(tempfile.mkdtemp(prefix="lw-files-", dir="/tmp"))
    copied(files, patient)
    other = (files / "application.yaml").read_text("utf-8").replace("name: payments", "name: orders", 1)
    placed = other.replace(f"[{LOST}, {ASKED}, {FAR}]", f"[{LOST}, {FAR}]")
    assert placed != other
    (files / "orders.yaml").write_text(placed, "utf-8")
    built = World(home)
    try:
        up = built.run("up", str(files), "--timeout", "250s")
        assert up.returncode == 0, up.stderr
        yield built
    finally:
        built.run("down")
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(files, ignore_errors=True)


def test_both_fail_over_on_their_own_and_share_nothing(world: World) -> None:
    world.until(lambda: world.primaries() == {"orders": LOST, "payments": LOST}, "both begin in the same region")
    world.until(
        lambda: world.asked("nobody.payments.example.com", "/api/payments?prefix=k")[0] == 404, "nobody is not there"
    )
    for app in AMOUNTS:
        # The same key in both: one database would answer the second with a conflict.
        world.until(lambda app=app: world.written(app, "k-before"), f"{app} accepts writes")

    assert world.run("fault", "kill", "--region", LOST).returncode == 0
    # One look at a time: between two, either may be found in the midst of its election.
    moved = world.until(lambda: moved_from(LOST, world.primaries()), "both have moved")
    assert moved["orders"] == FAR, "the only other region it is placed in"
    for app in AMOUNTS:
        world.until(lambda app=app: world.written(app, "k-after"), f"{app} accepts writes elsewhere")
    world.until(lambda: world.written("orders", "k-orders"), "orders accepts writes")
    world.until(lambda: world.written("payments", "k-payments"), "payments accepts writes")

    for app, amount in AMOUNTS.items():
        rows = world.until(
            lambda app=app: world.found(app, "k-after", f"k-{app}"),
            f"{app} has what it acknowledged",
        )
        assert rows.keys() <= {"k-before", "k-after", f"k-{app}"}
        assert set(rows.values()) == {amount}
        alone = world.until(lambda app=app: world.status(app)["applications"], f"the status tells of {app}")
        assert {row["name"] for row in alone} == {app}
        story = {"PrimaryLost", "PrimaryElected", "PrimaryPromoted"}
        world.until(lambda app=app, story=story: story <= world.reasons(app), f"the log tells it of {app}")


def test_one_moves_home_and_the_other_stays(world: World) -> None:
    away = world.until(lambda: moved_from(LOST, world.primaries()), "both are away")["payments"]
    assert world.run("fault", "start", "--region", LOST).returncode == 0

    def streams() -> bool:
        rows = [row for row in world.status("orders")["regions"] if row["region"] == LOST]
        return [row["role"] for row in rows] == ["standby"] and all(row["healthy"] for row in rows)

    world.until(streams, "orders follows in the region that is back")
    world.until(lambda: world.run("switchover", "orders", "--to", LOST).returncode == 0, "orders goes home")
    world.until(lambda: world.primaries() == {"orders": LOST, "payments": away}, "the other one does not move")
    for app in AMOUNTS:
        world.until(lambda app=app: world.written(app, "k-home"), f"{app} accepts writes")
