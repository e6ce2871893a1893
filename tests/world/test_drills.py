"""Every fault of `leeward drill list`, on one real world of three regions: real kills, real cuts, a client's ledger.

Safety and order are asserted, and that it ends. How fast is a matter for benchmarks.
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

pytestmark = [pytest.mark.world, pytest.mark.timeout(1300)]

LEEWARD = str(Path(sys.executable).parent / "leeward")
PAYMENTS = Path(__file__).parents[2] / "examples" / "payments"
PRIMARY = "us-east-1"
PATIENCE_S = 400
PRESSURE = Path("/proc/pressure/cpu")
CALM_S, CALM_PERCENT = 60.0, 50.0
TRIES = 3
"""Only where the drill says that the machine was overloaded, or could not be set up."""
LINES = 15
OVERLOADED = "the machine was overloaded"
NEEDLESS = ("failovers happened, at most", "requests failed although")
"""What an overloaded machine may bring about by itself. That a failover happened and writes went on must be seen."""
UNDECIDED_MAX = 2
"""More drills than these, and it is not the machine."""
# What a busy machine may miss; everything else that a drill demands must hold.
TIMINGS = {"rto-write", "rto-read"}


class World:
    """A running world, and the command that drills it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._environment = {**os.environ, "LEEWARD_HOME": str(home)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [LEEWARD, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def state(self) -> str:
        """Return how the world is, and what its agents and managers said last."""
        told = [self.run("status", "--world", "drills", "--show-conditions").stdout]
        for path in sorted(self._home.glob("drills/regions/*/logs/*/*/*.log"), key=lambda each: each.stat().st_mtime):
            if path.name in ("agent.log", "etcd.log", "postgres.log"):
                told += [f"{path}:", *path.read_text("utf-8", "replace").splitlines()[-LINES:]]
        return "\n".join(told)

    def drill(self, name: str, mode: str, *options: str) -> dict[str, Any] | str:
        """Return the result, or why there is none: the fleet was not such that the drill could begin."""
        where = ("--region", PRIMARY, "--world", "drills")
        result = self.run("drill", name, *where, "--replication", mode, "--runs", "1", "-o", "json", *options)
        if "error[drill-not-begun]" in result.stderr:
            return result.stderr
        assert result.returncode in (0, 1, 4), f"exit status {result.returncode}\n{result.stderr}"
        document: dict[str, Any] = json.loads(result.stdout)
        document["told"] = result.stderr
        return document


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    home = Path(tempfile.mkdtemp(prefix="lw-", dir="/tmp"))
    built = World(home)
    try:
        up = built.run("up", str(PAYMENTS), "--world", "drills", "--timeout", "200s")
        assert up.returncode == 0, up.stderr
        yield built
    finally:
        down = built.run("down", "--world", "drills")
        left = [path.name for path in home.iterdir()] if home.exists() else []
        shutil.rmtree(home, ignore_errors=True)
    assert down.returncode == 0, down.stderr
    assert left == [], "down leaves nothing"


def calm() -> None:
    """Return when processes wait for a processor for less than half of the time, at the latest after CALM_S."""
    until_s = time.monotonic() + CALM_S
    while PRESSURE.exists() and time.monotonic() < until_s:
        # "some avg10=12.34 ...": the share of the last 10 s, in percent, in which one had to wait.
        if float(PRESSURE.read_text().split()[1].partition("=")[2]) < CALM_PERCENT:
            return
        time.sleep(1)


OPTIONS = {"pod-kill": ("--every", "3s", "--duration", "15s")}
ONE, NONE, AT_MOST_ONE = {1}, {0}, {0, 1}


@pytest.mark.parametrize(
    ("name", "mode", "failovers"),
    [
        pytest.param("blip", "async", NONE, id="blips move nothing"),
        pytest.param("agent-kill", "async", NONE, id="agents restart and nothing moves"),
        pytest.param("pod-kill", "sync", NONE, id="pods are killed and nobody notices"),
        pytest.param("node-drain", "async", NONE, id="pods are evicted one by one and nobody notices"),
        pytest.param("quorum-leader-loss", "async", NONE, id="the store's leader alone moves nothing"),
        pytest.param("database-crash", "async", AT_MOST_ONE, id="a crashed database restarts or moves"),
        pytest.param(
            "instance-manager-kill", "sync", AT_MOST_ONE, id="a killed instance manager takes PostgreSQL along"
        ),
        pytest.param("region-loss", "async", ONE, id="region loss, async"),
        pytest.param("region-loss", "sync", ONE, id="region loss, sync"),
        pytest.param("region-loss", "quorum", ONE, id="region loss, quorum"),
        pytest.param("region-freeze", "async", ONE, id="a frozen region acknowledges nothing when it wakes, async"),
        pytest.param("region-freeze", "quorum", ONE, id="a frozen region acknowledges nothing when it wakes, quorum"),
        pytest.param("partition", "async", ONE, id="a partition with clients inside, async"),
        pytest.param("partition", "sync", ONE, id="a partition with clients inside, sync"),
        pytest.param("partition", "quorum", ONE, id="a partition with clients inside, quorum"),
        pytest.param("region-freeze", "sync", ONE, id="a frozen region acknowledges nothing when it wakes, sync"),
        pytest.param("asymmetric-partition", "async", AT_MOST_ONE, id="heard by nobody, async"),
        pytest.param("asymmetric-partition", "quorum", AT_MOST_ONE, id="heard by nobody, quorum"),
        pytest.param("asymmetric-partition", "sync", AT_MOST_ONE, id="heard by nobody, sync"),
        pytest.param("quorum-leader-and-region-loss", "quorum", ONE, id="the store's leader dies too, quorum"),
        pytest.param("quorum-leader-and-region-loss", "async", ONE, id="the store's leader dies too, async"),
        pytest.param("slow-link", "sync", ONE, id="a standby that lags is not chosen, sync"),
        pytest.param("slow-link", "quorum", ONE, id="a standby that lags is not chosen, quorum"),
        pytest.param("second-loss", "sync", AT_MOST_ONE, id="nobody is promoted without a majority"),
        pytest.param("second-loss", "quorum", AT_MOST_ONE, id="nobody is promoted without a majority, quorum"),
    ],
)
def test_drill(world: World, name: str, mode: str, failovers: set[int], undecided: list[str]) -> None:
    overloaded = 0
    for _ in range(TRIES):
        result = world.drill(name, mode, *OPTIONS.get(name, ()))
        if isinstance(result, str):
            why = result
            continue
        told = result["told"]
        assert result["broken"] == [], told
        assert result["duplicated"] == 0, told
        assert mode == "async" or result["lost"] == 0, told
        missed = {objective["name"] for objective in result["objectives"] if not objective["met"]}
        assert missed <= TIMINGS, told
        if not result["inconclusive"]:
            assert result["failovers"] in failovers, told
            return
        why = f"{result['inconclusive']}\n{told}"
        if not all(OVERLOADED in each and any(part in each for part in NEEDLESS) for each in result["inconclusive"]):
            continue
        # Nothing unsafe happened; whether anything needless did cannot be told on this machine, which the summary says.
        overloaded += 1
        if overloaded == TRIES and len(undecided) < UNDECIDED_MAX:
            undecided.append(f"{name}, {mode}: {result['inconclusive'][-1]}")
            return
        calm()
    pytest.fail(f"{why}\n{world.state()}")


def test_the_supervisors_death_leaves_nothing(world: World) -> None:
    """Last: it ends the world of this module."""
    for _ in range(TRIES):
        result = world.drill("supervisor-kill", "async")
        if not isinstance(result, str):
            break
    assert not isinstance(result, str), result
    assert result["broken"] == []
    assert result["passed"], result["told"]
    # `down` of the fixture must find a world: start it again, which also shows that nothing was in the way.
    again = world.run("up", str(PAYMENTS), "--world", "drills", "--timeout", "200s")
    assert again.returncode == 0, again.stderr
