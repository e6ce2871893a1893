"""Errors in the command line itself have the form of every other error."""

import pytest

from .conftest import Run


@pytest.mark.parametrize(
    ("arguments", "what", "fix"),
    [
        pytest.param(["docter"], "no such command 'docter'", "did you mean 'doctor'?", id="verb"),
        pytest.param(["status", "--watc"], "no such option: --watc", "did you mean --watch?", id="option"),
        pytest.param(["wait"], "missing argument 'APP'", "leeward wait --help", id="argument"),
        pytest.param(["logs", "x"], "missing option '--region' / '-r'", "leeward logs --help", id="required option"),
        pytest.param(["validate", "-f"], "option '-f' requires an argument", "leeward --help", id="value"),
        pytest.param(
            ["schema", "flee"], "fleet|application: 'flee' is not one of 'fleet', 'application'", "--help", id="choice"
        ),
        pytest.param(["drill", "blip", "--runs", "0"], "--runs: ", "leeward drill --help", id="range"),
        pytest.param(["restore-store"], "give either BACKUP or --latest", "restore-store --help", id="combination"),
        pytest.param(["fault", "slow", "-r", "x"], "give --delay or --rate", "fault slow --help", id="nothing to do"),
        pytest.param(
            ["fault", "slow", "-r", "x", "--rate", "7"], "--rate: '7' is not a valid bandwidth", "", id="rate"
        ),
        pytest.param(["records", "-o", "name"], "-o / --output: 'name' is not a valid output format", "", id="form"),
    ],
)
def test_a_usage_error_is_a_problem(leeward: Run, arguments: list[str], what: str, fix: str) -> None:
    result = leeward(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    first, where, why, last = result.stderr.splitlines()
    assert first.startswith(f"error[usage]: {what}")
    assert where == "  where: command line"
    assert why.startswith("  why:   usage: leeward ")
    assert last.startswith("  fix:   ")
    assert fix in last


def test_a_group_without_a_verb_prints_its_help(leeward: Run) -> None:
    for arguments in ((), ("fault",)):
        result = leeward(*arguments)
        assert result.returncode == 2
        assert "Usage: leeward " in result.stdout + result.stderr
        assert "error[" not in result.stderr
