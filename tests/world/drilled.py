"""What the results of drills say on a machine that may be overloaded: shared by whatever drills a world.

What is unsafe counts at once. What an overloaded machine may bring about by itself is tried again, and told at the end
of the tests where it stays so.
"""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

TRIES = 3
"""Only where the drill says that the machine was overloaded, or could not be set up."""
PRESSURE = Path("/proc/pressure/cpu")
CALM_S, CALM_PERCENT = 60.0, 50.0
OVERLOADED = "the machine was overloaded"
NEEDLESS = ("failovers happened, at most", "requests failed although", "s after its supervisor")
"""What an overloaded machine may bring about by itself. That a failover happened and writes went on must be seen."""
UNDECIDED_MAX = 2
"""More drills than these, and it is not the machine."""
UNDECIDED = pytest.StashKey[list[str]]()

Result = dict[str, Any]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which drills this machine could not decide; once, though several conftest.py have this function."""
    sentences = config.stash.get(UNDECIDED, [])
    if sentences:
        terminalreporter.section("drills that could not be decided: run them again on a quiet machine", yellow=True)
        for sentence in sentences:
            terminalreporter.write_line(sentence)
    sentences.clear()


@pytest.fixture
def undecided(pytestconfig: pytest.Config) -> list[str]:
    """What is told at the end of the drills that were safe, and of which no more can be said on this machine."""
    return pytestconfig.stash.setdefault(UNDECIDED, [])


def outcome(drill: "subprocess.CompletedProcess[str]") -> Result | str:
    """Return the result, or why there is none: the fleet was not such that the drill could begin."""
    if "error[drill-not-begun]" in drill.stderr:
        return drill.stderr
    assert drill.returncode in (0, 1, 4), f"exit status {drill.returncode}\n{drill.stderr}"
    result: Result = json.loads(drill.stdout)
    result["told"] = drill.stderr
    return result


class Trials:
    """The tries of one drill, until one decides it or the machine is to blame for all."""

    def __init__(self, name: str, undecided: list[str]) -> None:
        self.why = "it was not tried"
        """What the last try did not decide."""
        self._name = name
        self._undecided = undecided
        self._overloaded = 0

    def ended_with(self, result: Result | str) -> bool:
        """Whether this try was the last that is needed; the caller has looked at what must hold in any case."""
        if isinstance(result, str):
            self.why = result
            return False
        if not result["inconclusive"]:
            return True
        self.why = f"{result['inconclusive']}\n{result['told']}"
        if not all(OVERLOADED in each and any(part in each for part in NEEDLESS) for each in result["inconclusive"]):
            return False
        # Nothing unsafe happened; whether anything needless did cannot be told on this machine, which the summary says.
        self._overloaded += 1
        if self._overloaded == TRIES and len(self._undecided) < UNDECIDED_MAX:
            self._undecided.append(f"{self._name}: {result['inconclusive'][-1]}")
            return True
        calm()
        return False


def calm() -> None:
    """Return when processes wait for a processor for less than half of the time, at the latest after CALM_S."""
    until_s = time.monotonic() + CALM_S
    while PRESSURE.exists() and time.monotonic() < until_s:
        # "some avg10=12.34 ...": the share of the last 10 s, in percent, in which one had to wait.
        if float(PRESSURE.read_text().split()[1].partition("=")[2]) < CALM_PERCENT:
            return
        time.sleep(1)
