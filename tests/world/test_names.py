"""DNS in a real world: a region that is killed is left out of the other regions' answers, and returns to them.

That it happens is asserted, and that it takes seconds and not minutes. How fast is what drills measure.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.world, pytest.mark.timeout(500)]

LEEWARD = str(Path(sys.executable).parent / "leeward")
PAYMENTS = Path(__file__).parents[2] / "examples" / "payments"
LOST, NEXT, OTHER = "us-east-1", "europe-west1", "japaneast"
LEAVES_WITHIN_S = 30
RETURNS_WITHIN_S = 150


class World:
    def __init__(self, home: Path) -> None:
        self._environment = {**os.environ, "LEEWARD_HOME": str(home)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [LEEWARD, *arguments, "--world", "names"],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )

    def resolve(self, *arguments: str) -> dict[str, Any]:
        result = self.run("resolve", "payments", *arguments, "-o", "json")
        assert result.returncode == 0, result.stderr
        document: dict[str, Any] = json.loads(result.stdout)
        return document

    def led_to(self, near: str) -> dict[str, list[str]]:
        return {each["region"]: each["leads_to"] for each in self.resolve("--from", near)["answers"]}

    def until_led_to(self, near: str, expected: dict[str, list[str]], timeout_s: float) -> None:
        give_up_s = time.monotonic() + timeout_s
        while (found := self.led_to(near)) != expected:
            assert time.monotonic() < give_up_s, f"{found} is not {expected}"
            time.sleep(0.2)


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
    # At first they may not all have seen one another's pods.
    world.until_led_to(LOST, {region: [LOST] for region in everywhere}, RETURNS_WITHIN_S)
    own = world.resolve()
    assert own["host"] == "payments.payments.example.com"
    assert [each["leads_to"] for each in own["answers"]] == [[region] for region in everywhere]
    assert {each["ttl_s"] for each in own["answers"]} == {1}

    assert world.run("fault", "kill", "--region", LOST).returncode == 0
    world.until_led_to(LOST, {LOST: [], NEXT: [NEXT], OTHER: [NEXT]}, LEAVES_WITHIN_S)
    assert f"cannot see {LOST} serving" in world.resolve()["left_out"][LOST]
    shown = world.run("resolve", "payments", "--from", LOST).stdout
    assert f"left out: {LOST}, because" in shown
    rows = json.loads(world.run("status", "-o", "json").stdout)["regions"]
    assert {row["region"]: row["users_to"] for row in rows} == {LOST: [NEXT], NEXT: [NEXT], OTHER: [OTHER]}

    assert world.run("fault", "start", "--region", LOST).returncode == 0
    world.until_led_to(LOST, {region: [LOST] for region in everywhere}, RETURNS_WITHIN_S)
    assert world.resolve()["left_out"] == {}
