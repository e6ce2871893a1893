"""Render a drill's result as text. The numbers come from ``summary``."""

from collections.abc import Callable, Sequence
from enum import StrEnum

from leeward.drill.measure import RETRY_FOR_S
from leeward.drill.summary import Objective, Percentiles, Result, Step

BAR_WIDTH = 28
GAP = "   "


class Tone(StrEnum):
    """What a part of the report means for the result; the caller chooses the colours."""

    HEADING = "heading"
    GOOD = "good"
    BAD = "bad"
    WARNING = "warning"


Mark = Callable[[str, Tone], str]
"""Returns a text in the colour of a tone."""
Row = Sequence[str]


def unmarked(text: str, _tone: Tone) -> str:
    """Return the text without colour."""
    return text


def render(result: Result, mark: Mark = unmarked) -> str:
    """Return the result as tables: objectives, impact, where the time went."""
    parts = [mark(headline(result), Tone.HEADING), _judged(result, mark), _impact(result)]
    if any(step.measured_s is not None for step in result.waterfall):
        parts.append(_waterfall(result.waterfall, mark))
    parts += [mark(f"broken: {sentence}", Tone.BAD) for sentence in result.broken]
    parts += [mark(f"inconclusive: {sentence}", Tone.WARNING) for sentence in result.inconclusive]
    return "\n".join(parts)


def headline(result: Result) -> str:
    """Return the outcome in one line."""
    runs = f"{result.runs} run{'' if result.runs == 1 else 's'}"
    return f"{result.drill} of {result.region}, {result.app}, {result.replication}, {runs}: {verdict(result)}"


def verdict(result: Result) -> str:
    """Return the outcome in one word."""
    return {True: "passed", False: "failed", None: "inconclusive"}[result.passed]


def _judged(result: Result, mark: Mark) -> str:
    rows = [(*_row(objective), "yes" if objective.met else "NO") for objective in result.objectives]
    tones = [Tone.GOOD if objective.met else Tone.BAD for objective in result.objectives]
    rows += [(*_row(target), "yes" if target.met else "no: only a target") for target in result.targets]
    tones += [Tone.GOOD if target.met else Tone.WARNING for target in result.targets]
    return _table(("OBJECTIVE", "TARGET", "MEASURED", "MET"), rows, tones, mark)


def _row(objective: Objective) -> tuple[str, str, str]:
    return (
        objective.name,
        f"<= {objective.target:g} {objective.unit}" if objective.target else f"0 {objective.unit}",
        "never" if objective.measured is None else f"{objective.measured:g} {objective.unit}",
    )


def _impact(result: Result) -> str:
    rows = [_percentiles("write outage (s)", result.rto_write_s), _percentiles("read outage (s)", result.rto_read_s)]
    if any(run.dns_by_region for run in result.timeline):
        rows.append(_percentiles("removed from DNS after (s)", result.dns_s))
    rows.append(_percentiles("switchover write gap (s)", result.switchover_gap_s))
    unknown = result.unknown_present + result.unknown_absent
    for name, count in (
        ("acknowledged writes", result.acknowledged),
        ("lost", result.lost),
        ("kept as orphans", result.orphaned),
        ("duplicated", result.duplicated),
        (f"unknown outcome ({result.unknown_present} committed)", unknown),
        (f"requests failed after {RETRY_FOR_S:g} s of retries", result.failed_requests),
        ("failed in the switchover", result.switchover_failed_requests),
        ("failovers", result.failovers),
    ):
        rows.append((name, "", "", f"{count}"))
    return _table(("IMPACT", "P50", "P99", "MAX"), rows)


def _waterfall(steps: tuple[Step, ...], mark: Mark) -> str:
    longest_s = max(max(step.budget_s or 0.0, step.measured_s or 0.0) for step in steps) or 1.0
    rows, tones = [], []
    for step in steps:
        width = max(0, round((step.measured_s or 0.0) / longest_s * BAR_WIDTH))
        over = step.budget_s is not None and step.measured_s is not None and step.measured_s > step.budget_s
        rows.append((step.name, _seconds(step.budget_s), _seconds(step.measured_s), "█" * width))
        tones.append(Tone.BAD if over else Tone.GOOD)
    return _table(("WHERE THE TIME WENT", "BUDGET", "MEASURED", ""), rows, tones, mark)


def _table(head: Row, rows: Sequence[Row], tones: Sequence[Tone] = (), mark: Mark = unmarked) -> str:
    """Return a table with right-aligned numbers. With tones, the last column is text, one tone per row."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for number, row in enumerate((head, *rows)):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        if tones:
            cells[-1] = row[-1] if number == 0 else mark(row[-1], tones[number - 1])
        lines.append(GAP.join(cells).rstrip())
    return "\n".join(lines)


def _percentiles(name: str, values: Percentiles) -> Row:
    return (name, *(_seconds(value) for value in (values.p50, values.p99, values.max)))


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
