"""What agents measured, and the RTO that would tolerate it, as a page."""

from dataclasses import asdict

from leeward.base.units import duration_cell
from leeward.cli.exits import ExitCode
from leeward.cli.render import table
from leeward.cli.session import Session
from leeward.core.delays import BOUNDS_S
from leeward.operate.tuning import Tuning, tuning
from leeward.operate.worlds import WorldFleet

HEAD = ("NAME", "RTO", "WAITS", "NEEDLESS", "LOST", "GAP", "WITHHELD", "EXPECTED", "PROPOSED-RTO", "BECAUSE")


def show(session: Session) -> ExitCode:
    """Print what the fleet measured and a proposal; nothing is changed."""

    async def ask(fleet: WorldFleet) -> Tuning:
        async with fleet.agents() as agents:
            return tuning(fleet.spec(), await agents.statuses(), session.app)

    found = session.run(ask)
    names = [f"application/{each.name}" for each in found.applications]
    session.answer("Tuning", asdict(found), lambda: page(found), names)
    return ExitCode.DONE


def _per_year(number: float | None) -> str | None:
    return None if number is None else f"{number:.0f}/year"


def page(found: Tuning) -> str:
    """Return two tables: applications, and silences by region."""
    rows = [
        (
            each.name,
            duration_cell(each.rto_s),
            duration_cell(each.waits_s),
            each.tally.needless,
            each.tally.needless_lost,
            duration_cell(each.tally.needless_gap_s),
            each.tally.withheld,
            _per_year(each.proposal.needless_per_year),
            None if each.proposal.rto_s is None else duration_cell(each.proposal.rto_s),
            each.proposal.because,
        )
        for each in found.applications
    ]
    silences = [
        (each.name, duration_cell(each.observed_s), *(each.counts or [None] * (len(BOUNDS_S) + 1)))
        for each in found.regions
    ]
    head = ("REGION:SILENT-FOR", "OBSERVED", *(f"<={bound_s:g}s" for bound_s in BOUNDS_S), f">{BOUNDS_S[-1]:g}s")
    return f"{table(HEAD, rows)}\n\n{table(head, silences)}"
