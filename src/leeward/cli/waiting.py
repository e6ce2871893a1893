"""Wait for a condition, and print its state."""

from leeward.cli.exits import ExitCode
from leeward.cli.session import Session
from leeward.operate import waiting


def wait(session: Session, wanted: str, timeout_s: float) -> ExitCode:
    """Wait, and print the condition that was met."""
    app, goal = session.application, waiting.goal_of(wanted)
    state = session.run(lambda fleet: waiting.wait(fleet, app, goal, session.console, timeout_s))
    session.console.data(f"application/{app} condition met: {state}")
    return ExitCode.DONE
