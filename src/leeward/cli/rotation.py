"""Exchange a world's authorities, and print which."""

from leeward.cli.exits import ExitCode
from leeward.cli.session import Session
from leeward.operate.rotation import rotate


def show(session: Session, purposes: tuple[str, ...], timeout_s: float) -> ExitCode:
    """Exchange the authorities of these purposes."""
    done = session.run(lambda fleet: rotate(fleet, purposes, session.console, timeout_s))
    session.console.data(f"authorities/{session.world or 'default'} exchanged: {', '.join(done)}")
    return ExitCode.DONE
