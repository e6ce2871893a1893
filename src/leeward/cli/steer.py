"""Request a change, and print what was done."""

import json

from leeward.cli.exits import ExitCode
from leeward.cli.session import Session
from leeward.operate import steering
from leeward.operate.steering import Change, Steered

DONE = {
    "switchover": "switched-over",
    "failover": "failed-over",
    "mode": "mode-changed",
    "pause": "paused",
    "resume": "resumed",
}


def ask(session: Session, change: Change, *, timeout_s: float, dry_run: bool, confirm: str | None = None) -> ExitCode:
    """Request a change, wait if it says so, and print what was done."""
    if not dry_run:
        steering.check_confirmed(change, confirm)
    done = session.run(
        lambda fleet: steering.steer(fleet, change, session.console, timeout_s=timeout_s, dry_run=dry_run)
    )
    session.console.data(f"application/{change.app} {DONE[change.verb]}{_dry(done) if done.dry_run else ''}")
    return ExitCode.DONE


def _dry(done: Steered) -> str:
    change = done.change
    return f" (dry run): {done.because or f'POST {change.path} {json.dumps(change.body)}'}"
