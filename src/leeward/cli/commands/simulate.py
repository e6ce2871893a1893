"""The verb ``simulate``: thousands of incidents on your own files, in virtual time."""

from typing import Annotated

import typer

from leeward.cli.commands.common import Files, OneApp, ReportForm, duration_option, session
from leeward.cli.forms import TABLE, Mode

DURATION_MIN_S = 36.0


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(simulate)


def simulate(
    context: typer.Context,
    files: Files,
    app: OneApp = None,
    runs: Annotated[int, typer.Option(min=1, help="Number of incidents, or of long runs with --duration.")] = 1000,
    duration_s: Annotated[
        float | None, duration_option("--duration", default=False, text="Length of each run, with many incidents.")
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", show_default="any", help="Only this fault; may be repeated. `list` prints all."),
    ] = None,
    replication: Annotated[Mode | None, typer.Option(show_default="as in the file", help="Replication mode.")] = None,
    seed: Annotated[
        int | None, typer.Option(show_default=False, help="Repeat only the run of this seed, exactly.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, show_default="all cores", help="Worker processes.")] = None,
    output: ReportForm = TABLE,
) -> None:
    """Predict the impact of incidents by simulating thousands of them in virtual time.

    Runs the shipped agents on a simulation of your fleet and application. Exit status 0: every objective was met;
    1: one was missed; 2: could not run.

    \b
    Examples:
      leeward simulate -f examples/payments --runs 200
      leeward simulate payments -f examples/payments --duration 24h --runs 20
      leeward simulate -f examples/payments --fault region-loss --replication sync -o json
      leeward simulate -f examples/payments --seed 7
      leeward simulate -f examples/payments --fault list
    """
    if duration_s is not None and duration_s < DURATION_MIN_S:
        raise typer.BadParameter(f"--duration must be at least {DURATION_MIN_S:g}s")
    from leeward.cli import simulations
    from leeward.core.values import ReplicationMode
    from leeward.operate.predictions import SimulationRequest

    asked = session(context, app=app, form=output)
    if fault == ["list"]:
        simulations.names(asked.console)
        return
    mode = None if replication is None else ReplicationMode(replication)
    hours = None if duration_s is None else duration_s / 3600
    request = SimulationRequest(files, app, runs, hours, tuple(fault or ()), mode, seed, jobs)
    raise typer.Exit(simulations.predict(asked, request))
