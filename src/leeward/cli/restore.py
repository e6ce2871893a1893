"""Restore the quorum store: what was done, as text."""

from leeward.cli.exits import ExitCode
from leeward.cli.render import table
from leeward.cli.running import run
from leeward.cli.session import Session
from leeward.operate import restoring
from leeward.operate.restore_world import RestoreRequest, restore
from leeward.operate.restoring import Members

LEFTOVER = "repeat the same command: it stops every member, replaces its data and starts it again"


def world(session: Session, request: RestoreRequest) -> ExitCode:
    """Restore the store of a running world."""
    done = session.run(lambda fleet: restore(fleet, request, session.console), leftover=LEFTOVER)
    console = session.console
    if done.dry_run:
        console.data(f"store/{done.fleet} would be restored (dry run) from {done.source}")
        return ExitCode.DONE
    console.data(f"store/{done.fleet} restored from {done.source}")
    rows = [(row.name, row.primary, row.epoch, done.epochs_before.get(row.name)) for row in done.applications]
    console.data(table(("APPLICATION", "PRIMARY", "EPOCH", "BEFORE"), rows))
    return ExitCode.DONE


def store(session: Session, members: Members) -> ExitCode:
    """Write OUT/REGION for every member, and list them."""
    made = run(restoring.data_directories(members), session.console)
    session.console.data(table(("REGION", "DATA DIRECTORY"), [(name, str(path)) for name, path in made]))
    session.console.note("stop every member, replace each member's data directory with its new one, and start them all")
    return ExitCode.DONE
