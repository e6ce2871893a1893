"""What was done to a region, as a line."""

from datetime import UTC, datetime

from leeward.cli.session import Session
from leeward.operate import faults
from leeward.world.model import Applied

DONE = {"kill": "killed", "freeze": "frozen", "thaw": "thawed", "start": "started"}


def region(session: Session, name: str, what: str) -> None:
    """Kill, freeze, thaw or start a region."""
    applied = session.run(lambda fleet: faults.on_region(fleet, name, what))
    session.console.data(f"region/{name} {DONE[what]}{_at(applied)}")


def signal(session: Session, name: str, part: str, signal_name: str) -> None:
    """Signal the processes of one component of a region."""
    number = faults.signal_of(signal_name)
    applied = session.run(lambda fleet: faults.signal(fleet, name, part, number))
    pids = ", ".join(map(str, applied.pids)) or "no process"
    session.console.data(f"region/{name} {part} {number.name} sent to {pids}{_at(applied)}")


def cut(session: Session, name: str, peer: str | None) -> None:
    """Cut the links of a region."""
    _report(session, name, peer, "cut", session.run(lambda fleet: faults.cut(fleet, name, peer)))


def heal(session: Session, name: str, peer: str | None) -> None:
    """Restore the links of a region."""
    _report(session, name, peer, "healed", session.run(lambda fleet: faults.heal(fleet, name, peer)))


def slow(session: Session, name: str, peer: str | None, delay_s: float | None, rate_bytes_s: float | None) -> None:
    """Set the delay or the bandwidth of a region's links."""
    applied = session.run(lambda fleet: faults.slow(fleet, name, peer, delay_s=delay_s, rate_bytes_s=rate_bytes_s))
    _report(session, name, peer, "slow", applied)


def _report(session: Session, name: str, peer: str | None, done: str, applied: Applied) -> None:
    session.console.data(f"region/{name} {done}{f' towards {peer}' if peer else ''}{_at(applied)}")


def _at(applied: Applied) -> str:
    return f" at {datetime.fromtimestamp(applied.at_unix_s, UTC):%H:%M:%S.%f}"[:-3] + "Z"
