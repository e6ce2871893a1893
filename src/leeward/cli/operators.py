"""Issue an operator's certificate, and print how to use it."""

from collections.abc import Sequence
from pathlib import Path

from leeward.cli.exits import ExitCode
from leeward.cli.session import Session
from leeward.core.identities import Grant, Right
from leeward.operate.operators import check_name, issue


def show(session: Session, name: str, apps: Sequence[str], right: Right | None, out: Path) -> ExitCode:
    """Write OUT/ca.crt, tls.crt and tls.key."""
    check_name(name)
    grants = [Grant(app, right) for app in apps] or [Grant(None, right)]
    session.run(lambda fleet: issue(fleet, name, grants, out))
    session.console.data(f"operator/{name} issued: may {', '.join(map(str, grants))}")
    session.console.note(f"act as {name}: LEEWARD_IDENTITY={out} leeward switchover ...")
    return ExitCode.DONE
