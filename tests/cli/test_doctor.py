"""The doctor, as a user and as a program sees it."""

import json
import re
from collections import Counter

import pytest

from .conftest import Run


def test_table_groups_and_ends_with_a_verdict(leeward: Run) -> None:
    result = leeward("doctor")
    assert result.returncode == 0, result.stdout
    lines = result.stdout.splitlines()
    groups = [line for line in lines[:-1] if line and not line.startswith(" ")]
    assert groups == ["Python", "Engines", "Isolation", "Resources", "Network", "Worlds"]
    assert lines[-1].endswith("this machine can run a world")


def test_json_has_every_key_and_every_finding_a_fix(leeward: Run) -> None:
    report = json.loads(leeward("doctor", "-o", "json").stdout)
    assert (report["apiVersion"], report["kind"]) == ("leeward.dev/v1alpha1", "DoctorReport")
    assert all(check.keys() == {"group", "name", "outcome", "detail", "fix"} for check in report["checks"])
    assert [check for check in report["checks"] if (check["outcome"] == "ok") != (check["fix"] is None)] == []


def test_short_shows_only_what_is_wrong(leeward: Run) -> None:
    # In one look: between two, the machine may become busy, or rest.
    *lines, verdict = leeward("doctor", "-o", "short").stdout.splitlines()
    counts = {outcome: int(count) for count, outcome in re.findall(r"(\d+) (\w+)", verdict.partition(":")[0])}
    assert counts.pop("ok") > 0
    assert Counter(line.partition(":")[0] for line in lines) == counts


@pytest.mark.parametrize(
    ("environment", "arguments", "coloured"),
    [
        pytest.param({}, [], False, id="no terminal, no colour"),
        pytest.param({"FORCE_COLOR": "1"}, [], True, id="forced by the environment"),
        pytest.param({}, ["--color", "always"], True, id="asked for"),
        pytest.param({"NO_COLOR": "1"}, ["--color", "always"], False, id="NO_COLOR beats the option"),
        pytest.param({"FORCE_COLOR": "1"}, ["--color", "never"], False, id="the option beats FORCE_COLOR"),
    ],
)
def test_colour(leeward: Run, environment: dict[str, str], arguments: list[str], coloured: bool) -> None:
    output = leeward(*arguments, "doctor", environment=environment).stdout
    assert ("\x1b[" in output) is coloured
