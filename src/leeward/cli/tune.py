"""What agents measured: needless failovers, silences, and the RTO that would tolerate them."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from leeward.base.units import duration_cell
from leeward.cli.agents import Answer, newest
from leeward.cli.console import Console
from leeward.cli.exits import CommandError, ExitCode
from leeward.cli.forms import TableOutput
from leeward.cli.history import no_agent_answers, no_such_application
from leeward.cli.render import as_json, table
from leeward.cli.running import run
from leeward.cli.worlds_here import agents_of, choose
from leeward.core.codec import from_plain
from leeward.core.delays import BOUNDS_S, Delays, longest_watched, propose
from leeward.core.values import Region, Tally
from leeward.spec import load
from leeward.spec.application import Application
from leeward.spec.spec import Spec, is_synchronous

HEAD = ("NAME", "RTO", "WAITS", "NEEDLESS", "LOST", "GAP", "WITHHELD", "EXPECTED", "PROPOSED-RTO", "BECAUSE")


def show(console: Console, world: str | None, app: str | None, output: TableOutput) -> ExitCode:
    """Print what the fleet measured and a proposal; nothing is changed."""
    spec, answers = run(_ask(world), console)
    document = report(spec, answers, app)
    console.data(as_json("Tuning", document) if output is TableOutput.JSON else _tables(document))
    return ExitCode.DONE


async def _ask(name: str | None) -> tuple[Spec, list[Answer]]:
    async with choose(name) as world:
        info = await world.info()
        async with agents_of(world, info) as agents:
            return load(Path(info.files[0])), await agents.statuses()


def report(spec: Spec, answers: list[Answer], app: str | None) -> dict[str, Any]:
    """Return what is known and proposed. Raises CommandError: no agent answers, or the application is unknown."""
    best = newest(answers)
    if best is None:
        raise CommandError(no_agent_answers())
    names = [each.metadata.name for each in spec.applications]
    if app is not None and app not in names:
        raise CommandError(no_such_application(app, names))
    delays = [from_plain(Delays, each.body["delays"]) for each in answers if each.status == 200]
    return {
        "applications": [
            _application(spec, each, delays, best.body)
            for each in spec.applications
            if app in (None, each.metadata.name)
        ],
        "regions": [_region(region.name, delays) for region in spec.regions],
    }


def _application(spec: Spec, application: Application, delays: list[Delays], body: Mapping[str, Any]) -> dict[str, Any]:
    name, wanted = application.metadata.name, application.spec
    topology = body["topologies"].get(name, {})
    primary = topology.get("primary") or spec.placement(application)[0]
    raw, patience = body["tallies"].get(name), spec.patience(application)
    proposal = propose(
        longest_watched(delays, Region(primary)),
        wanted.objectives.rto_s,
        spec.rtt_max_s,
        patience.takeover_s,
        synchronous=is_synchronous(application),
        dns_ttl_s=wanted.traffic.dns_ttl_s or 0.0,
    )
    return {
        "name": name,
        "primary": primary,
        "failover": str(wanted.failover),
        "rto_s": wanted.objectives.rto_s,
        "lease_s": patience.lease_s,
        "waits_s": patience.takeover_s,
        "tally": asdict(Tally() if raw is None else from_plain(Tally, raw)),
        "proposal": asdict(proposal),
    }


def _region(name: str, delays: list[Delays]) -> dict[str, Any]:
    found = longest_watched(delays, Region(name))
    return {
        "name": name,
        "observed_s": found.observed_s if found is not None else 0.0,
        "bounds_s": list(BOUNDS_S),
        "counts": list(found.counts) if found is not None else None,
    }


def _per_year(number: float | None) -> str | None:
    return None if number is None else f"{number:.0f}/year"


def _tables(document: dict[str, Any]) -> str:
    rows = [
        (
            each["name"],
            duration_cell(each["rto_s"]),
            duration_cell(each["waits_s"]),
            each["tally"]["needless"],
            each["tally"]["needless_lost"],
            duration_cell(each["tally"]["needless_gap_s"]),
            each["tally"]["withheld"],
            _per_year(each["proposal"]["needless_per_year"]),
            None if each["proposal"]["rto_s"] is None else duration_cell(each["proposal"]["rto_s"]),
            each["proposal"]["because"],
        )
        for each in document["applications"]
    ]
    silences = [
        (each["name"], duration_cell(each["observed_s"]), *(each["counts"] or [None] * (len(BOUNDS_S) + 1)))
        for each in document["regions"]
    ]
    head = ("REGION:SILENT-FOR", "OBSERVED", *(f"<={bound_s:g}s" for bound_s in BOUNDS_S), f">{BOUNDS_S[-1]:g}s")
    return f"{table(HEAD, rows)}\n\n{table(head, silences)}"
