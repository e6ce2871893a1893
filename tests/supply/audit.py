"""What pip-audit's service knows about the packages that a lock file pins."""

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cache

from tests.supply.locks import LOCKS, ROOT

TIMEOUT_S = 5
AUDIT_S = 240
HOW = "make audit where one can be reached; PIP_AUDIT_VULNERABILITY_SERVICE=osv asks another one"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said, or why it said nothing."""

    vulnerable: tuple[str, ...] = ()
    """``PACKAGE VERSION: ID, fixed in VERSION``."""
    missing: str | None = None
    """Why there is no answer about every package."""


@cache
def ask(lock: str) -> Answer:
    """Ask about every package of a lock file."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    command += ["--timeout", str(TIMEOUT_S), "--format", "json", "-r", str(ROOT / lock)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=AUDIT_S, check=False)
    except subprocess.TimeoutExpired:
        return Answer(missing=f"pip-audit had no answer after {AUDIT_S} s")
    return answer(result.stdout, result.stderr)


def answer(report: str, errors: str) -> Answer:
    """Read what pip-audit printed. A package that the service does not know counts as no answer."""
    try:
        dependencies = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        lines = [line.strip() for line in errors.splitlines() if line.strip()]
        return Answer(missing=lines[-1] if lines else "pip-audit printed nothing")
    skipped = [f"{each['name']}: {each['skip_reason']}" for each in dependencies if "skip_reason" in each]
    if not dependencies:
        return Answer(missing="pip-audit looked at no package")
    if skipped:
        more = f", and {len(skipped) - 1} packages more" if len(skipped) > 1 else ""
        return Answer(missing=skipped[0] + more)
    return Answer(
        tuple(
            f"{each['name']} {each['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'none'}"
            for each in dependencies
            for found in each["vulns"]
        )
    )


def why_not() -> str | None:
    """Say why known vulnerabilities cannot be looked up, and what to do; None when they can."""
    missing = next((found for lock in LOCKS if (found := ask(lock).missing) is not None), None)
    return None if missing is None else f"pip-audit reached no vulnerability service ({missing}). Run: {HOW}"
