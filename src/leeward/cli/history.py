"""The decision log, and writes orphaned by asynchronous failovers."""

from dataclasses import asdict
from datetime import UTC, datetime

from leeward.base.problem import Problem
from leeward.cli.agents import Answer, newest
from leeward.cli.console import Console
from leeward.cli.exits import CommandError, ExitCode
from leeward.cli.forms import TableOutput
from leeward.cli.render import as_line, table
from leeward.cli.running import run
from leeward.cli.worlds_here import agents_of, choose
from leeward.core.codec import from_plain
from leeward.core.values import App, Heartbeat, Orphans, Record


def records(console: Console, world: str | None, app: str | None, output: TableOutput) -> ExitCode:
    """Print the decision log, oldest first."""
    found = [record for record in run(_records(world), console) if app is None or record.app == app]
    if output is TableOutput.JSON:
        console.data("".join(as_line("Decision", _decision(record)) + "\n" for record in found))
    elif found:
        console.data(record_table(found))
    else:
        console.note("no decisions yet")
    return ExitCode.DONE


def _decision(record: Record) -> dict[str, object]:
    """Return a record as JSON: its ``kind`` becomes ``reason``, since documents have a ``kind`` of their own."""
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


def orphans(console: Console, world: str | None, app: str, output: TableOutput) -> ExitCode:
    """Print the writes that each region's database kept and the new history lacks."""
    body = run(_newest(world), console).body
    if app not in body["topologies"]:
        raise CommandError(no_such_application(app, list(body["topologies"])))
    found: list[tuple[str, Orphans]] = []
    for region, raw in body["heartbeats"].items():
        report = from_plain(Heartbeat, raw).apps.get(App(app))
        found += [(region, each) for each in (report.orphans if report else ())]
    if output is TableOutput.JSON:
        lines = (as_line("Orphans", {"region": region, **asdict(each)}) for region, each in found)
        console.data("".join(line + "\n" for line in lines))
    elif found:
        console.data(orphan_table(found))
    else:
        console.note(f"no orphaned writes of {app}")
    return ExitCode.DONE


def orphan_table(found: list[tuple[str, Orphans]]) -> str:
    """Return each region's orphans as a table, followed by the tables that could not be read, with the reasons."""
    kept = table(
        ("REGION", "EPOCH", "TRANSACTIONS", "ROWS", "UNREAD TABLES", "FILE"),
        [(region, each.epoch, each.transactions, each.rows, each.unread_tables, each.path) for region, each in found],
    )
    return "\n".join((kept, *(line for region, each in found for line in _not_read(region, each))))


def _not_read(region: str, orphans: Orphans) -> list[str]:
    if not orphans.unread:
        return []
    lines = [f"{region}, epoch {orphans.epoch}: {unread.table}: {unread.because}" for unread in orphans.unread]
    if orphans.unread_tables > len(lines):
        lines.append(f"{region}, epoch {orphans.epoch}: {orphans.unread_tables - len(lines)} more, named in the file")
    kept = f"raw data kept in {orphans.evidence}" if orphans.evidence else "no raw data kept: not enough disk space"
    return ["", *lines, f"{region}, epoch {orphans.epoch}: {kept}"]


async def _records(name: str | None) -> list[Record]:
    async with choose(name) as world, agents_of(world, await world.info()) as agents:
        answers = [answer for answer in await agents.records() if answer.status == 200]
        if not answers:
            raise CommandError(no_agent_answers())
        # The copy with the highest cursor contains all others.
        best = max(answers, key=lambda answer: int(answer.body["next"]))
        return [from_plain(Record, raw) for raw in best.body["records"]]


async def _newest(name: str | None) -> Answer:
    async with choose(name) as world, agents_of(world, await world.info()) as agents:
        best = newest(await agents.statuses())
        if best is None:
            raise CommandError(no_agent_answers())
        return best


def no_agent_answers() -> Problem:
    """Return the problem that no agent answers."""
    return Problem(
        code="no-agent",
        where="the agents of every region",
        what="no agent answers",
        why="their regions are lost or frozen, or still starting",
        fix="see leeward status; leeward fault start --region REGION restarts a lost one",
    )


def no_such_application(app: str, known: list[str]) -> Problem:
    """Return the problem of an unknown application."""
    return Problem(
        code="unknown-application",
        where=f"application {app}",
        what=f"unknown application {app!r}",
        why=f"this world runs {', '.join(known) or 'none'}",
        fix="use one of these names",
    )
