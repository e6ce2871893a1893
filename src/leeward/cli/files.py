"""The user's files on the command line: their schema, and their validation."""

import json
from pathlib import Path

from leeward.base.units import duration_cell
from leeward.cli.exits import ExitCode
from leeward.cli.forms import Kind
from leeward.cli.session import Session
from leeward.core.delays import needless_per_year
from leeward.spec import ProblemsError, Spec, json_schema, load
from leeward.spec.application import Application, Operator


def schema(kind: Kind | None) -> str:
    """Return the JSON Schema of one kind, or of all of them by name."""
    if kind is not None:
        return json.dumps(json_schema(kind.value.capitalize()), indent=2)
    return json.dumps({each.value: json_schema(each.value.capitalize()) for each in Kind}, indent=2)


def validate(session: Session, directory: Path) -> ExitCode:
    """Print a summary of valid files, or all their problems."""
    console = session.console
    try:
        spec = load(directory)
    except ProblemsError as error:
        console.problems(error.problems)
        return ExitCode.NO
    console.problems(spec.warnings)
    console.data("\n".join([_fleet(spec), *(_application(spec, each) for each in spec.applications)]))
    return ExitCode.DONE


def _fleet(spec: Spec) -> str:
    witnesses = sum(region.witness for region in spec.regions)
    kinds = f"{len(spec.regions)} regions" + (f" ({witnesses} of them witness)" if witnesses else "")
    return f"fleet/{spec.fleet.metadata.name} valid: {kinds}, round trips up to {duration_cell(spec.rtt_max_s)}"


def _application(spec: Spec, application: Application) -> str:
    primary, *standbys = spec.placement(application)
    wanted = application.spec
    if wanted.database.operator is Operator.CLOUDNATIVE_PG:
        return (
            f"application/{application.metadata.name} valid: {wanted.database.replication}, first primary {primary}\n"
            f"  RTO {duration_cell(wanted.objectives.rto_s)}: not predicted, Leeward does not move this primary"
        )
    return (
        f"application/{application.metadata.name} valid: {wanted.database.replication}, "
        f"primary {primary}, standbys {', '.join(standbys) or 'none'}\n"
        f"  RTO {duration_cell(wanted.objectives.rto_s)}, predicted: {spec.budget(application).arithmetic()}\n"
        f"  {_patience(spec, application)}"
    )


def _patience(spec: Spec, application: Application) -> str:
    """Return how long a silent primary is tolerated, and how many freezes in the fleet's file cause a failover."""
    patience, heartbeat_s = spec.patience(application), spec.timers.heartbeat_s
    waits = (
        f"a silent primary may accept writes for {duration_cell(patience.lease_s)}; "
        f"takeover after {duration_cell(patience.takeover_s)}"
    )
    if not spec.freezes:
        return waits
    needless = needless_per_year(spec.freezes, patience.takeover_s, heartbeat_s)
    least = needless_per_year(spec.freezes, spec.timers.lease_s, heartbeat_s)
    return f"{waits}; {needless:g} needless failovers per year due to freezes, {least:g} with the shortest RTO"
