"""``leeward simulate`` on the example's files: one JSON object, the same for the same seed, honest exit statuses."""

import json
from pathlib import Path

from .conftest import Run

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


def test_one_seed_tells_its_story(leeward: Run) -> None:
    result = leeward("simulate", "-f", PAYMENTS, "--seed", "1", "--fault", "region-loss")
    assert result.returncode == 0, result.stderr
    assert "the story of run 1:" in result.stdout


def test_an_unknown_fault_could_not_run(leeward: Run) -> None:
    result = leeward("simulate", "-f", PAYMENTS, "--fault", "meteor")
    assert (result.returncode, result.stdout) == (2, "")
    assert "error[unknown-fault]" in result.stderr
