"""Drills as text, and what their results mean for the exit status."""

import os
from pathlib import Path

from leeward.cli.console import Console, Style
from leeward.cli.exits import ExitCode
from leeward.cli.running import run
from leeward.cli.session import Session
from leeward.core.codec import plain
from leeward.drill.report import Tone, render
from leeward.drill.summary import Result, exit_status
from leeward.operate import drills
from leeward.operate.drills import DrillRequest

STYLES = {
    Tone.HEADING: Style.STRONG,
    Tone.GOOD: Style.GOOD,
    Tone.BAD: Style.BAD,
    Tone.WARNING: Style.WARNING,
}


def names(console: Console) -> None:
    """List every drill."""
    console.data("\n".join(f"{each.name}\n  does: {each.does}\n  must: {each.must}" for each in drills.kinds()))


def drill(session: Session, directory: Path | None, request: DrillRequest) -> ExitCode:
    """Run the drill and print its result."""
    name = f"drill-{os.getpid()}"
    work = drills.drill(session.world, directory, request, session.console, temporary=name)
    result = run(work, session.console, leftover=f"leeward down --world {name}")
    session.answer("DrillResult", plain(result), lambda: as_text(session.console, result))
    return code_of(result)


def code_of(result: Result) -> ExitCode:
    """Return the exit status of a result."""
    return ExitCode(exit_status(result))


def as_text(console: Console, result: Result) -> str:
    """Return a result as text, with colours where stdout has them."""
    return render(result, lambda text, tone: console.mark(text, STYLES[tone]))
