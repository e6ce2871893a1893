"""Worlds that start and end: by Ctrl-C, by SIGKILL, too late, in vain, by the demo. No other world runs beside them."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import LEEWARD
from .worlds import DEMO_S, PATIENCE_S, PAYMENTS, START_S, TRIES, Leeward, at_home, until

pytestmark = [pytest.mark.world, pytest.mark.timeout(700)]

# What a busy machine may miss; everything else that a drill demands must hold.
TIMINGS = {"rto-write", "rto-read"}


@pytest.fixture
def leeward() -> Iterator[Leeward]:
    yield from at_home()


def test_ctrl_c_ends_a_world_that_is_starting(leeward: Leeward) -> None:
    with subprocess.Popen(
        [LEEWARD, "up", str(PAYMENTS), "--world", "gone"],
        env=leeward.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "waiting: " in line:
                break
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, rest
    assert "Ctrl-C again skips the clean-up" in rest
    assert leeward.left() == []


@pytest.mark.parametrize(
    ("verb", "word"),
    [
        pytest.param(["up", "--world", "killed"], "starting world", id="up, before anything runs"),
        pytest.param(["up", "--world", "killed"], "isolation: ", id="up, while regions start"),
        pytest.param(["up", "--world", "killed"], "waiting: payments ", id="up, while databases start"),
        pytest.param(["demo"], "everything is ready", id="demo, when all is there"),
    ],
)
def test_a_killed_command_leaves_nothing(leeward: Leeward, verb: list[str], word: str) -> None:
    command = [LEEWARD, *verb, str(PAYMENTS)]
    with subprocess.Popen(
        command, env=leeward.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines: list[str] = []
        assert any(word in line for line in process.stderr if lines.append(line) is None), "".join(lines)
        process.kill()
    until(lambda: not leeward.left(), lambda: leeward.left())


def test_a_world_that_is_late_reports_what_is_missing(leeward: Leeward) -> None:
    result = leeward("up", str(PAYMENTS), "--world", "late", "--timeout", "100ms")
    assert (result.returncode, result.stdout) == (5, "")
    assert "error[not-ready]" in result.stderr
    assert not (leeward.home / "late").exists()


def test_a_program_that_keeps_failing_ends_the_wait(leeward: Leeward, tmp_path: Path) -> None:
    shutil.copy(PAYMENTS / "fleet.yaml", tmp_path)
    application = (PAYMENTS / "application.yaml").read_text()
    start, end = application.index("    command:"), application.index("    port:")
    failing = "    command: [python, -c, 'raise SystemExit(\"no luck today\")']\n"
    (tmp_path / "application.yaml").write_text(application[:start] + failing + application[end:])
    result = leeward("up", str(tmp_path), "--world", "failing", "--timeout", START_S)
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    assert "error[pod-failing]" in result.stderr
    assert "no luck today" in result.stderr
    assert not (leeward.home / "failing").exists()


@pytest.mark.timeout(TRIES * DEMO_S)
def test_the_demo_loses_a_region_and_meets_its_objectives(leeward: Leeward) -> None:
    for _ in range(TRIES):
        result = leeward("demo", str(PAYMENTS), timeout_s=DEMO_S)
        lines = f"{result.stderr}\n{result.stdout}"
        missed = {line.split()[0] for line in result.stdout.splitlines() if line.endswith("   NO")}
        assert missed <= TIMINGS, lines
        assert "broken: " not in result.stdout, lines
        assert [name for name in leeward.left() if "demo" in name] == []
        if "error[drill-not-begun]" in result.stderr:
            continue
        if "inconclusive: " in result.stdout:
            assert result.returncode == (1 if missed else 4), lines
            continue
        assert result.returncode == (1 if missed else 0), lines
        for step in ("detected: ", "fenced: ", "elected: ", "promoted: ", "routed: ", "first write: "):
            assert step in result.stderr
        assert "rto-write" in result.stdout
        assert f"region-loss of us-east-1, payments, async, 1 run: {'failed' if missed else 'passed'}" in result.stdout
        return
    pytest.fail(lines)
