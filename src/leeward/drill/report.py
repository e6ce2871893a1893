"""A drill's result for people. Rendering only; the numbers come from ``summary``."""

from typing import TYPE_CHECKING

from leeward.drill.measure import RETRY_FOR_S
from leeward.drill.summary import Objective, Percentiles, Result, Step

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

BAR_WIDTH = 28


def render(result: Result) -> "RenderableType":
    """Return the result as tables: objectives, what it cost, where the time went."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(headline(result), style="bold"), _judged(result), _costs(result)]
    if any(step.measured_s is not None for step in result.waterfall):
        parts.append(_waterfall(result.waterfall))
    parts += [Text(f"broken: {sentence}", style="red") for sentence in result.broken]
    parts += [Text(f"inconclusive: {sentence}", style="yellow") for sentence in result.inconclusive]
    return Group(*parts)


def headline(result: Result) -> str:
    """Return the outcome in one line."""
    runs = f"{result.runs} run{'' if result.runs == 1 else 's'}"
    return f"{result.drill} of {result.region}, {result.app}, {result.replication}, {runs}: {verdict(result)}"


def verdict(result: Result) -> str:
    """Return the outcome in one word."""
    return {True: "passed", False: "failed", None: "inconclusive"}[result.passed]


def _judged(result: Result) -> "Table":
    table = _table("OBJECTIVE", "TARGET", "MEASURED", "MET")
    for objective in result.objectives:
        table.add_row(*_row(objective), "[green]yes[/green]" if objective.met else "[red]NO[/red]")
    for target in result.targets:
        table.add_row(*_row(target), "[green]yes[/green]" if target.met else "[yellow]no: only a target[/yellow]")
    return table


def _row(objective: Objective) -> tuple[str, str, str]:
    return (
        objective.name,
        f"<= {objective.target:g} {objective.unit}" if objective.target else f"0 {objective.unit}",
        "never" if objective.measured is None else f"{objective.measured:g} {objective.unit}",
    )


def _costs(result: Result) -> "Table":
    table = _table("IMPACT", "P50", "P99", "MAX")
    _add(table, "write outage (s)", result.rto_write_s)
    _add(table, "read outage (s)", result.rto_read_s)
    if any(run.dns_by_region for run in result.timeline):
        _add(table, "removed from DNS after (s)", result.dns_s)
    _add(table, "switchover write gap (s)", result.switchover_gap_s)
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
        table.add_row(name, "", "", f"{count}")
    return table


def _waterfall(steps: tuple[Step, ...]) -> "Table":
    table = _table("WHERE THE TIME WENT", "BUDGET", "MEASURED", "")
    longest_s = max(max(step.budget_s or 0.0, step.measured_s or 0.0) for step in steps) or 1.0
    for step in steps:
        width = max(0, round((step.measured_s or 0.0) / longest_s * BAR_WIDTH))
        over = step.budget_s is not None and step.measured_s is not None and step.measured_s > step.budget_s
        bar = f"[{'red' if over else 'green'}]{'█' * width}[/]"
        table.add_row(step.name, _seconds(step.budget_s), _seconds(step.measured_s), bar)
    return table


def _table(first: str, *others: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), title=None)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="left" if name in ("", "MET") else "right")
    return table


def _add(table: "Table", name: str, values: Percentiles) -> None:
    table.add_row(name, *(_seconds(value) for value in (values.p50, values.p99, values.max)))


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
