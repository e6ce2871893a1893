"""``leeward simulate`` on the example's files: one JSON object, the same for the same seed, honest exit statuses."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.waiting import block_until

from .conftest import LEEWARD, Run

PAYMENTS = str(Path(__file__).parents[2] / "examples" / "payments")


def test_a_prediction_is_one_object_and_spreads_over_processes(leeward: Run) -> None:
    asked = ("simulate", "-f", PAYMENTS, "--fault", "region-loss", "--replication", "sync", "--runs", "4", "-o", "json")
    two, one = leeward(*asked, "--jobs", "2"), leeward(*asked, "--jobs", "1")
    assert (two.returncode, one.returncode) == (0, 0), two.stderr + one.stderr
    found, same = json.loads(two.stdout), json.loads(one.stdout)
    assert {**found, "took_s": 0} == {**same, "took_s": 0}
    assert (found["runs"], found["lost"], found["violations"]) == (4, 0, [])
    assert found["rto_write_s"]["max"] <= found["objectives"]["rto_s"]
    assert any("region-loss" in line for line in found["story"])


def test_one_seed_prints_its_timeline(leeward: Run) -> None:
    result = leeward("simulate", "-f", PAYMENTS, "--seed", "1", "--fault", "region-loss")
    assert result.returncode == 0, result.stderr
    assert "timeline of run 1, in seconds" in result.stdout
    assert "   +0.00" in result.stdout
    assert "capacity: with us-east-1 lost its users go to europe-west1" in result.stdout


@pytest.fixture
def as_in_a_terminal() -> Iterator[None]:
    """Let Ctrl-C reach what is started: a shell's background jobs, such as these tests, ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("as_in_a_terminal")
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_prediction_reports_its_progress_and_leaves_nothing(jobs: str, number: int) -> None:
    command = [LEEWARD, "simulate", "-f", PAYMENTS, "--runs", "100000", "--jobs", jobs]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        assert "of 100000 runs, about" in process.stderr.readline()
        # Ctrl-C reaches the whole group of processes, a supervisor's SIGTERM only the first.
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        output, errors = process.communicate(timeout=200)
    assert (process.returncode, output) == (130, "")
    assert errors.splitlines()[-1].startswith("stopped after ")
    assert "Traceback" not in errors
    # Python's own tracker of resources ends a moment after the process it tracks.
    block_until(lambda: not is_there(process.pid), "every process ends", within_s=60, every_s=0.05)


def is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_unknown_fault_could_not_run(leeward: Run) -> None:
    result = leeward("simulate", "-f", PAYMENTS, "--fault", "meteor")
    assert (result.returncode, result.stdout) == (2, "")
    assert "error[unknown-fault]" in result.stderr
