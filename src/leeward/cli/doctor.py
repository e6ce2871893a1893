"""Report whether this machine can run a world: the findings of ``machine``, as text or JSON."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from leeward.cli.console import Console, Style
from leeward.cli.exits import ExitCode
from leeward.cli.forms import Output
from leeward.cli.session import Session
from leeward.operate import machine
from leeward.operate.machine import Check, Outcome

_STYLES = {Outcome.OK: Style.GOOD, Outcome.WARNING: Style.WARNING, Outcome.FAILED: Style.BAD}


def report(session: Session) -> ExitCode:
    """Check the machine and print the findings."""
    checks = machine.examine()
    failed = any(check.outcome is Outcome.FAILED for check in checks)
    short = session.form.output is Output.SHORT

    def text() -> str:
        return (
            "\n".join([*map(_short, _wrong(checks)), _verdict(checks)]) if short else _grouped(checks, session.console)
        )

    session.answer("DoctorReport", {"passed": not failed, "checks": [asdict(check) for check in checks]}, text)
    return ExitCode.NO if failed else ExitCode.DONE


def _wrong(checks: Sequence[Check]) -> list[Check]:
    return [check for check in checks if check.outcome is not Outcome.OK]


def _short(check: Check) -> str:
    return f"{check.outcome}: {check.group}/{check.name}: {check.detail}; fix: {check.fix}"


def _grouped(checks: Sequence[Check], console: Console) -> str:
    lines: list[str] = []
    group = None
    name_width = max(len(check.name) for check in checks)
    outcome_width = max(len(outcome) for outcome in Outcome)
    for check in checks:
        if check.group != group:
            lines += [*([""] if lines else []), console.mark(check.group, Style.STRONG)]
            group = check.group
        outcome = console.mark(f"{check.outcome:<{outcome_width}}", _STYLES[check.outcome])
        lines.append(f"  {outcome}  {check.name:<{name_width}}  {check.detail}")
        if check.fix is not None:
            lines.append(f"  {'':<{outcome_width}}  {'':<{name_width}}  fix: {check.fix}")
    return "\n".join([*lines, "", _verdict(checks)])


def _verdict(checks: Sequence[Check]) -> str:
    counts = Counter(check.outcome for check in checks)
    numbers = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome])
    if counts[Outcome.FAILED]:
        return f"{numbers}: fix what failed, then run leeward doctor again"
    return f"{numbers}: this machine can run a world"
