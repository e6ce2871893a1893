"""The decision log, and orphaned writes, as text."""

from dataclasses import asdict
from datetime import UTC, datetime

from leeward.cli.exits import ExitCode
from leeward.cli.render import table
from leeward.cli.session import Session
from leeward.core.values import Orphans, Record
from leeward.operate import history
from leeward.operate.history import RegionOrphans


def records(session: Session) -> ExitCode:
    """Print the decision log, oldest first."""
    found = session.run(lambda fleet: history.records(fleet, session.app))
    session.answer("DecisionList", {"decisions": [_decision(each) for each in found]}, lambda: record_table(found))
    if not found:
        session.console.note("no decisions yet")
    return ExitCode.DONE


def orphans(session: Session) -> ExitCode:
    """Print the writes that each region's database kept and the new history lacks."""
    app = session.application
    found = session.run(lambda fleet: history.orphans(fleet, app))
    listed = [{"region": each.region, **asdict(each.orphans)} for each in found]
    session.answer("OrphanList", {"orphans": listed}, lambda: orphan_table(found))
    if not found:
        session.console.note(f"no orphaned writes of {app}")
    return ExitCode.DONE


def _decision(record: Record) -> dict[str, object]:
    """Return a record as JSON: its ``kind`` becomes ``reason``, as in events."""
    body = asdict(record)
    return {"reason": body.pop("kind"), **body}


def record_table(found: list[Record]) -> str:
    """Return decisions as a table; the reason comes last, since it is long."""
    return table(
        ("TIME", "REGION", "APP", "EPOCH", "DECISION", "BECAUSE"),
        [
            (clock(record.at_unix_s), record.region, record.app, record.epoch, record.kind, _why(record))
            for record in found
        ],
    )


def _why(record: Record) -> str:
    return record.because if record.asked_by is None else f"{record.because} (asked by {record.asked_by})"


def clock(at_unix_s: float) -> str:
    """Return the time of day, UTC, in milliseconds."""
    return f"{datetime.fromtimestamp(at_unix_s, UTC):%H:%M:%S.%f}"[:-3] + "Z"


def orphan_table(found: list[RegionOrphans]) -> str:
    """Return each region's orphans as a table, followed by the tables that could not be read, with the reasons."""
    kept = table(
        ("REGION", "EPOCH", "TRANSACTIONS", "ROWS", "UNREAD TABLES", "FILE"),
        [
            (
                each.region,
                each.orphans.epoch,
                each.orphans.transactions,
                each.orphans.rows,
                each.orphans.unread_tables,
                each.orphans.path,
            )
            for each in found
        ],
    )
    return "\n".join((kept, *(line for each in found for line in _not_read(each.region, each.orphans))))


def _not_read(region: str, orphans: Orphans) -> list[str]:
    if not orphans.unread:
        return []
    lines = [f"{region}, epoch {orphans.epoch}: {unread.table}: {unread.because}" for unread in orphans.unread]
    if orphans.unread_tables > len(lines):
        lines.append(f"{region}, epoch {orphans.epoch}: {orphans.unread_tables - len(lines)} more, named in the file")
    kept = f"raw data kept in {orphans.evidence}" if orphans.evidence else "no raw data kept: not enough disk space"
    return ["", *lines, f"{region}, epoch {orphans.epoch}: {kept}"]
