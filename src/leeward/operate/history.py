"""The decision log, and writes orphaned by asynchronous failovers."""

from dataclasses import dataclass

from leeward.core.codec import from_plain
from leeward.core.values import App, Heartbeat, Orphans, Record
from leeward.operate.agents import newest
from leeward.operate.fleet import Fleet
from leeward.operate.outcome import OperationError
from leeward.operate.problems import no_agent_answers, no_such_application


@dataclass(frozen=True, slots=True)
class RegionOrphans:
    """Writes of one epoch that a region's database kept and the new history lacks."""

    region: str
    orphans: Orphans


async def records(fleet: Fleet, app: str | None = None) -> list[Record]:
    """Return the decision log, oldest first, of one application only if ``app`` is given. Raises OperationError."""
    async with fleet.agents() as agents:
        answers = [answer for answer in await agents.records() if answer.status == 200]
    if not answers:
        raise OperationError(no_agent_answers())
    # The copy with the highest cursor contains all others.
    best = max(answers, key=lambda answer: int(answer.body["next"]))
    found = [from_plain(Record, raw) for raw in best.body["records"]]
    return [record for record in found if app is None or record.app == app]


async def orphans(fleet: Fleet, app: str) -> list[RegionOrphans]:
    """Return what every region's database kept. Raises OperationError: no agent answers, or unknown application."""
    async with fleet.agents() as agents:
        best = newest(await agents.statuses())
    if best is None:
        raise OperationError(no_agent_answers())
    if app not in best.body["topologies"]:
        raise OperationError(no_such_application(app, best.body["topologies"]))
    found: list[RegionOrphans] = []
    for region, raw in best.body["heartbeats"].items():
        report = from_plain(Heartbeat, raw).apps.get(App(app))
        found += [RegionOrphans(region, each) for each in (report.orphans if report else ())]
    return found
