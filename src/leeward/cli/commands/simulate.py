"""The verb ``simulate``: thousands of incidents on your own files, in virtual time."""

from pathlib import Path
from typing import Annotated

import typer

from leeward.cli.commands.common import console
from leeward.cli.forms import Mode, TableOutput


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(simulate)


def simulate(
    context: typer.Context,
    directory: Annotated[
        Path,
        typer.Option("-f", metavar="DIR", show_default=False, help="Directory with the Fleet and the Applications."),
    ],
    app: Annotated[
        str | None, typer.Option("--app", metavar="APP", show_default="the only one", help="Application to simulate.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Number of incidents, or of long runs with --hours.")] = 1000,
    hours: Annotated[
        float | None,
        typer.Option(min=0.01, show_default=False, help="Length of each run in hours, with many incidents."),
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
    output: Annotated[
        TableOutput, typer.Option("-o", "--output", help="A table, or one JSON object.")
    ] = TableOutput.TABLE,
) -> None:
    """Predict the impact of incidents by simulating thousands of them in virtual time.

    Runs the shipped agents on a simulation of your fleet and application. Exit status 0: every objective was met;
    1: one was missed; 2: could not run.

    \b
    Examples:
      leeward simulate -f examples/payments --runs 200
      leeward simulate -f examples/payments --fault region-loss --replication sync -o json
      leeward simulate -f examples/payments --seed 7
      leeward simulate -f examples/payments --fault list
    """
    from leeward.cli import simulations

    if fault == ["list"]:
        simulations.names(console(context))
        return
    request = simulations.SimulationRequest(directory, app, runs, hours, tuple(fault or ()), replication, seed, jobs)
    raise typer.Exit(simulations.predict(console(context), request, output))
