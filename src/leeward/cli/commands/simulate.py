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
        Path, typer.Option("-f", metavar="DIR", show_default=False, help="Holds the Fleet and the Applications.")
    ],
    app: Annotated[
        str | None, typer.Option("--app", metavar="APP", show_default="the only one", help="The application.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="How many incidents, or long times.")] = 1000,
    hours: Annotated[
        float | None,
        typer.Option(min=0.01, show_default=False, help="Let each run last so many hours, with many incidents."),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", show_default="any", help="Only these; repeat it. `list` names all."),
    ] = None,
    replication: Annotated[
        Mode | None, typer.Option(show_default="as in the file", help="What acknowledged writes are promised.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(show_default=False, help="Tell the story of this one run, exactly as it was.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, show_default="all cores", help="Processes.")] = None,
    output: Annotated[
        TableOutput, typer.Option("-o", "--output", help="A table, or one JSON object.")
    ] = TableOutput.TABLE,
) -> None:
    """Predict what incidents would cost, by living through thousands of them in virtual time.

    The shipped agents run on your fleet and application, simulated. Exit status 0: every objective was met;
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
    wish = simulations.Wish(directory, app, runs, hours, tuple(fault or ()), replication, seed, jobs)
    raise typer.Exit(simulations.predict(console(context), wish, output))
