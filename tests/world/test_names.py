"""DNS in a real world: a region that is killed, or whose gateway is drained, is left out of the answers, and returns.

That it happens is asserted, and that it takes seconds and not minutes. How fast is what drills measure.
"""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.waiting import block_until

pytestmark = [pytest.mark.world, pytest.mark.timeout(900)]

LEEWARD = str(Path(sys.executable).parent / "leeward")
PAYMENTS = Path(__file__).parents[2] / "examples" / "payments"
LOST, NEXT, OTHER = "us-east-1", "europe-west1", "japaneast"
LEAVES_WITHIN_S = 100
RETURNS_WITHIN_S = 150


class World:
    def __init__(self, home: Path) -> None:
        self._environment = {**os.environ, "LEEWARD_HOME": str(home)}
        self._directory = home / "names"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [LEEWARD, *arguments, "--world", "names"],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def resolve(self, *arguments: str) -> dict[str, Any]:
        """Return what the servers say, once one answers: on a busy machine all may be late for one look."""
        result = block_until(
            lambda: self.run("resolve", "payments", *arguments, "-o", "json"),
            accept=lambda result: result.returncode == 0,
            within_s=LEAVES_WITHIN_S,
            every_s=0.2,
        )
        document: dict[str, Any] = json.loads(result.stdout)
        return document

    def led_to(self, near: str | None = None) -> dict[str, list[str]]:
        """Return where each region's server leads users near one region; None: its own users."""
        resolution = self.resolve(*(() if near is None else ("--from", near)))
        return {each["region"]: each["leads_to"] for each in resolution["answers"]}

    def users_to(self) -> dict[str, list[str]]:
        rows = json.loads(self.run("status", "-o", "json").stdout)["regions"]
        return {row["region"]: row["users_to"] for row in rows}

    def asked_inside(self, region: str, method: str, path: str) -> int:
        """Return the status that anybody in a region's network gets at the open port of its gateway."""
        info = json.loads((self._directory / "world.json").read_text("utf-8"))
        (here,) = (each for each in info["regions"] if each["name"] == region)
        user = ["--user", "--preserve-credentials"] if info["isolation"] == "user-namespace" else []
        place = f"127.10.{here['index']}.2"
        result = subprocess.run(
            ["nsenter", "--target", str(here["pid"]), *user, "--net", sys.executable, "-c", _ASK, place, method, path],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return int(result.stdout)

    def admin_socket(self, region: str) -> Path:
        (path,) = (self._directory / "regions" / region / "pods").glob("*/gateway/admin.sock")
        return path

    def gateway(self, region: str) -> tuple[Path, int, int]:
        """Return which process it is: each has made its own socket."""
        path = self.admin_socket(region)
        made = path.stat()
        return path, made.st_ino, made.st_mtime_ns

    def drain(self, region: str) -> None:
        """Stop every listener of a region's gateway for good, as only its own pod can."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(60)
            admin.connect(str(self.admin_socket(region)))
            admin.sendall(b"POST /drain_listeners HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\n\r\n")
            response = http.client.HTTPResponse(admin)
            response.begin()
            assert response.status == 200


_ASK = """
import http.client, sys
place, method, path = sys.argv[1:]
connection = http.client.HTTPConnection(place, 9901, timeout=30)
connection.request(method, path)
print(connection.getresponse().status)
"""


def until(read: Callable[[], object], expected: object, timeout_s: float) -> None:
    """Ask again and again: each agent learns of the others, and of their return, at a time of its own."""
    block_until(read, repr(expected), accept=lambda found: found == expected, within_s=timeout_s, every_s=0.2)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    home = Path(tempfile.mkdtemp(prefix="lw-", dir="/tmp"))
    built = World(home)
    try:
        up = built.run("up", str(PAYMENTS), "--timeout", "200s")
        assert up.returncode == 0, up.stderr
        yield built
    finally:
        built.run("down")
        shutil.rmtree(home, ignore_errors=True)


def test_a_lost_region_is_left_out_and_returns(world: World) -> None:
    everywhere = (LOST, NEXT, OTHER)
    home = {region: [region] for region in everywhere}
    # `up` waits for this, though not for ever.
    until(world.led_to, home, RETURNS_WITHIN_S)
    until(lambda: world.led_to(LOST), {region: [LOST] for region in everywhere}, RETURNS_WITHIN_S)
    assert world.resolve()["host"] == "payments.payments.example.com"
    until(lambda: {each["ttl_s"] for each in world.resolve()["answers"]}, {1}, RETURNS_WITHIN_S)

    assert world.run("fault", "kill", "--region", LOST).returncode == 0
    until(lambda: world.led_to(LOST), {LOST: [], NEXT: [NEXT], OTHER: [NEXT]}, LEAVES_WITHIN_S)
    until(world.users_to, {LOST: [NEXT], NEXT: [NEXT], OTHER: [OTHER]}, RETURNS_WITHIN_S)
    # An agent that is out of the quorum for a moment goes by its own eyes, and says so instead.
    until(lambda: f"cannot see {LOST} serving" in world.resolve()["left_out"].get(LOST, ""), True, RETURNS_WITHIN_S)
    told = f"left out: {LOST}, because"
    until(lambda: told in world.run("resolve", "payments", "--from", LOST).stdout, True, RETURNS_WITHIN_S)

    assert world.run("fault", "start", "--region", LOST).returncode == 0
    until(lambda: world.led_to(LOST), {region: [LOST] for region in everywhere}, RETURNS_WITHIN_S)
    until(world.led_to, home, RETURNS_WITHIN_S)
    until(lambda: world.resolve()["left_out"], {}, RETURNS_WITHIN_S)


def test_a_drained_gateway_is_noticed_and_replaced_and_its_region_is_left_out_meanwhile(world: World) -> None:
    home = {region: [region] for region in (LOST, NEXT, OTHER)}
    until(world.led_to, home, RETURNS_WITHIN_S)
    before = world.gateway(OTHER)
    for method, path in (("POST", "/drain_listeners"), ("POST", "/quitquitquit"), ("GET", "/config_dump")):
        assert world.asked_inside(OTHER, method, path) == 403
    assert world.asked_inside(OTHER, "GET", "/ready") == 200
    until(world.led_to, home, RETURNS_WITHIN_S)
    assert world.gateway(OTHER) == before, "it was neither drained nor replaced"

    world.drain(OTHER)
    until(lambda: "does not answer users" in world.resolve()["left_out"].get(OTHER, ""), True, LEAVES_WITHIN_S)
    until(lambda: OTHER in [each for led in world.led_to(OTHER).values() for each in led], False, LEAVES_WITHIN_S)
    # What was drained stays drained: it answers again because it was replaced.
    until(world.led_to, home, RETURNS_WITHIN_S)
    assert world.asked_inside(OTHER, "GET", "/ready") == 200
