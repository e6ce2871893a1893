"""The agent's child is started again at once, and never outlives the process that starts it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leeward.agent.runtime.restarting import RESTARTS_MAX
from tests.kit.waiting import block_until

BOUND_S = 30.0
# The clock moves on by STEP at each look: whether a child lived long is not left to the machine.
PROGRAM = """
import os, signal, structlog, sys
from leeward.agent.runtime import restarting
from leeward.agent.runtime.restarting import STEADY_S, keep_running

restarting.STEADY_S = {waits}

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

class Clock:
    def __init__(self, step_s):
        self.at_s, self.step_s = 0.0, step_s
    def now_s(self):
        self.at_s += self.step_s
        return self.at_s
    def unix_s(self):
        return 0.0

def child():
    print(os.getpid(), flush=True)
    {body}

def load():
    {load}

sys.exit(keep_running(child, Clock({lived} * STEADY_S), load))
"""
WAITS = "signal.pause()"
LONG, SHORT = 1.0, 0.5

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[subprocess.Popen[str]] = []

    def begin(body: str, lived: float, load: str = "pass", waits: str = "STEADY_S") -> subprocess.Popen[str]:
        program = PROGRAM.format(body=body, lived=lived, load=load, waits=waits)
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate(timeout=BOUND_S)


def _pid(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate(timeout=BOUND_S)[1]
    return int(line)


def _gone(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_child_that_lived_is_started_again(start: Start) -> None:
    process = start(WAITS, LONG)
    first = _pid(process)
    os.kill(first, signal.SIGKILL)
    second = _pid(process)
    assert second != first
    assert process.poll() is None
    os.kill(second, signal.SIGKILL)
    assert _pid(process) not in (first, second)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param("sys.exit(2)", 2, id="a status"),
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", 128 + signal.SIGKILL, id="a signal"),
        pytest.param("raise RuntimeError('told')", 1, id="an error"),
        pytest.param("pass", 0, id="nothing to do"),
    ],
)
def test_a_child_that_dies_early_is_not_started_again(start: Start, body: str, status: int) -> None:
    process = start(body, SHORT)
    output, errors = process.communicate(timeout=BOUND_S)
    assert process.returncode == status, errors
    assert len(output.splitlines()) == 1
    assert ("RuntimeError: told" in errors) == ("told" in body)


def test_a_child_that_dies_again_and_again_is_left_to_our_parent(start: Start) -> None:
    process = start(WAITS, LONG)
    for _ in range(1 + RESTARTS_MAX):
        os.kill(_pid(process), signal.SIGKILL)
    process.communicate(timeout=BOUND_S)
    assert process.returncode == 128 + signal.SIGKILL


@pytest.mark.parametrize("load", ["print('loaded', flush=True)", "print('loaded', flush=True); raise ImportError('x')"])
def test_modules_are_loaded_ahead_once_the_first_child_is_steady(start: Start, load: str) -> None:
    process = start(WAITS, LONG, load=load, waits="0.1")
    assert process.stdout is not None
    said = [process.stdout.readline(), process.stdout.readline()]
    assert "loaded\n" in said
    (first,) = [int(line) for line in said if line != "loaded\n"]
    assert not _gone(first)
    os.kill(first, signal.SIGKILL)
    assert _pid(process) != first


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_end_reaches_the_child(start: Start, number: signal.Signals) -> None:
    # Blocked, it is not lost when it comes before the child waits for it.
    block, wait = f"signal.pthread_sigmask(signal.SIG_BLOCK, [{int(number)}])", f"signal.sigwait([{int(number)}])"
    process = start(f"{block}; print('set', flush=True); {wait}; sys.exit(7)", LONG)
    child = _pid(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "set\n"
    process.send_signal(number)
    process.communicate(timeout=BOUND_S)
    assert process.returncode == 7
    assert _gone(child)


def test_the_child_dies_with_its_parent(start: Start) -> None:
    process = start(WAITS, LONG)
    child = _pid(process)
    process.kill()
    process.wait(BOUND_S)
    block_until(lambda: _gone(child), "the child ends", within_s=BOUND_S, every_s=0.01)
