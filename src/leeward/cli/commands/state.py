"""Verbs that query the agents: status, resolve, records, orphans, tune."""

from typing import Annotated

import typer

from leeward.cli.commands.common import AnyApp, App, ListForm, ReportForm, World, session, timeout_option
from leeward.cli.forms import TABLE


def register(app: typer.Typer) -> None:
    """Add the verbs of this group."""
    for verb in (status, wait, resolve, records, orphans, tune):
        app.command()(verb)


def status(
    context: typer.Context,
    app: AnyApp = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every second.")] = False,
    conditions: Annotated[
        bool, typer.Option("--show-conditions", help="Also show the conditions of each application.")
    ] = False,
    output: ListForm = TABLE,
    world: World = None,
) -> None:
    """Show primaries, replication lag and silent regions.

    Everything comes from one revision of the quorum store; its age is shown. Takes at most a second, even with
    a region down. Exit status 1: no agent answered.

    \b
    Examples:
      leeward status
      leeward status payments --watch
      leeward status --show-conditions
      leeward status -o json | jq '.applications[].primary'
      leeward status -o jsonpath='{.applications[0].primary}'
    """
    from leeward.cli import status as view

    raise typer.Exit(view.show(session(context, world, app, output), watch=watch, conditions=conditions))


def wait(
    context: typer.Context,
    app: App,
    wanted: Annotated[
        str,
        typer.Option(
            "--for", metavar="TYPE[=STATUS]", help="Condition to wait for, and its status: True, False or Unknown."
        ),
    ] = "Ready",
    timeout_s: Annotated[float, timeout_option("30s")] = 30.0,
    world: World = None,
) -> None:
    """Wait until a condition of an application is met.

    docs/reference/conditions.md lists them. Exit status 5: not met in time, with the reason. 1: it
    cannot be met without an operator's action.

    \b
    Examples:
      leeward wait payments
      leeward wait payments --for Replicating --timeout 2m
      leeward wait payments --for Paused=False
    """
    from leeward.cli import waiting

    raise typer.Exit(waiting.wait(session(context, world, app), wanted, timeout_s))


def resolve(
    context: typer.Context,
    app: App,
    near: Annotated[
        str | None,
        typer.Option("--from", metavar="REGION", show_default=False, help="Resolve as a user near this region."),
    ] = None,
    output: ReportForm = TABLE,
    world: World = None,
) -> None:
    """Query every region's DNS server for an application's name.

    Without --from each server answers for its own region's users. Exit status 1: no server answered.

    \b
    Examples:
      leeward resolve payments
      leeward resolve payments --from europe-west1
    """
    from leeward.cli import resolution

    raise typer.Exit(resolution.show(session(context, world, app, output), near))


def records(
    context: typer.Context,
    app: AnyApp = None,
    output: ReportForm = TABLE,
    world: World = None,
) -> None:
    """Show the decision log: what was decided, when, where and why.

    \b
    Examples:
      leeward records
      leeward records payments -o json | jq '.decisions[].reason'
    """
    from leeward.cli import history

    raise typer.Exit(history.records(session(context, world, app, output)))


def tune(
    context: typer.Context,
    app: AnyApp = None,
    output: ListForm = TABLE,
    world: World = None,
) -> None:
    """Show needless failovers, how long regions go silent, and the RTO that would tolerate that.

    Nothing is changed; to wait longer, raise objectives.rto in your files.

    \b
    Examples:
      leeward tune
      leeward tune payments -o json | jq '.applications[].proposal'
    """
    from leeward.cli import tune as tuning

    raise typer.Exit(tuning.show(session(context, world, app, output)))


def orphans(
    context: typer.Context,
    app: App,
    output: ReportForm = TABLE,
    world: World = None,
) -> None:
    """List writes that an asynchronous failover left behind.

    Each was committed on a deposed primary, and is kept in a file in its region. Tables that could not be read are
    listed with the reason. docs/concepts/orphans.md: the file format, and how to restore rows.

    \b
    Examples:
      leeward orphans payments
    """
    from leeward.cli import history

    raise typer.Exit(history.orphans(session(context, world, app, output)))
