"""No package that a lock file pins has a known vulnerability."""

import json

import pytest

from tests.supply.audit import Answer, answer, ask
from tests.supply.locks import LOCKS

GOOD = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1", "3"], "aliases": []}]}
UNFIXED = {"name": "c", "version": "3", "vulns": [{"id": "PYSEC-2", "fix_versions": [], "aliases": []}]}
UNKNOWN = {"name": "d", "skip_reason": "Dependency not found on PyPI and could not be audited: d (4)"}


@pytest.mark.vulnerabilities
@pytest.mark.parametrize("lock", LOCKS)
def test_nothing_pinned_has_a_known_vulnerability(lock: str) -> None:
    found = ask(lock)
    assert (found.missing, found.vulnerable) == (None, ())


@pytest.mark.parametrize(
    ("report", "errors", "expected"),
    [
        (json.dumps({"dependencies": [GOOD]}), "", Answer()),
        (
            json.dumps({"dependencies": [GOOD, BAD, UNFIXED]}),
            "Found 2 known vulnerabilities",
            Answer(("b 2: PYSEC-1, fixed in 2.1, 3", "c 3: PYSEC-2, fixed in none")),
        ),
        (json.dumps({"dependencies": [GOOD, UNKNOWN]}), "", Answer(missing=f"d: {UNKNOWN['skip_reason']}")),
        (json.dumps({"dependencies": []}), "", Answer(missing="pip-audit looked at no package")),
        ("", "WARNING: x\nERROR: could not connect\n", Answer(missing="ERROR: could not connect")),
        ("", "", Answer(missing="pip-audit printed nothing")),
        ("[]", "odd", Answer(missing="odd")),
    ],
    ids=["none known", "two known", "one unknown to it", "nothing looked at", "no connection", "silence", "nonsense"],
)
def test_only_an_answer_about_every_package_counts(report: str, errors: str, expected: Answer) -> None:
    assert answer(report, errors) == expected
