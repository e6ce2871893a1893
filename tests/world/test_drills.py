"""Every fault of `leeward drill list`, on one real world of three regions: real kills, real cuts, a client's ledger.

Safety and order are asserted, and that it ends. How fast is a matter for benchmarks.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world.drilled import TRIES, Result, Trials, outcome

pytestmark = [pytest.mark.world, pytest.mark.timeout(1300)]

LEEWARD = str(Path(sys.executable).parent / "leeward")
PAYMENTS = Path(__file__).parents[2] / "examples" / "payments"
PRIMARY = "us-east-1"
PATIENCE_S = 400
LINES = 15
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

    def up(self) -> None:
        up = self.run("up", str(PAYMENTS), "--world", "drills", "--timeout", "200s")
        assert up.returncode == 0, up.stderr

    def drill(self, name: str, mode: str, *options: str) -> Result | str:
        """Return the result, or why there is none: the fleet was not such that the drill could begin."""
        where = ("--region", PRIMARY, "--world", "drills")
        return outcome(self.run("drill", name, *where, "--replication", mode, "--runs", "1", "-o", "json", *options))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    home = Path(tempfile.mkdtemp(prefix="lw-", dir="/tmp"))
    built = World(home)
    try:
        built.up()
        yield built
    finally:
        down = built.run("down", "--world", "drills")
        left = [path.name for path in home.iterdir()] if home.exists() else []
        shutil.rmtree(home, ignore_errors=True)
    assert down.returncode == 0, down.stderr
    assert left == [], "down leaves nothing"


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
    trials = Trials(f"{name}, {mode}", undecided)
    for _ in range(TRIES):
        result = world.drill(name, mode, *OPTIONS.get(name, ()))
        if not isinstance(result, str):
            told = result["told"]
            assert result["broken"] == [], told
            assert result["duplicated"] == 0, told
            assert mode == "async" or result["lost"] == 0, told
            missed = {objective["name"] for objective in result["objectives"] if not objective["met"]}
            assert missed <= TIMINGS, told
            assert result["inconclusive"] or result["failovers"] in failovers, told
        if trials.ended_with(result):
            return
    pytest.fail(f"{trials.why}\n{world.state()}")


def test_the_supervisors_death_leaves_nothing(world: World, undecided: list[str]) -> None:
    """Last: it ends the world of this module."""
    trials = Trials("supervisor-kill", undecided)
    for _ in range(TRIES):
        result = world.drill("supervisor-kill", "async")
        if not isinstance(result, str):
            assert result["broken"] == [], result["told"]
            assert result["passed"] or result["inconclusive"], result["told"]
            # The next try and `down` of the fixture must find a world; that it starts shows that nothing is in the way.
            world.up()
        if trials.ended_with(result):
            return
    pytest.fail(f"{trials.why}\n{world.state()}")
