"""Verbs that start, change, stop and list worlds: demo, up, apply, down, worlds, info."""

from typing import Annotated

import typer

from leeward.cli.commands.common import (
    DirectoryArgument,
    DryRun,
    FilesOrArgument,
    ListForm,
    ReportForm,
    World,
    directory_of,
    session,
    timeout_option,
)
from leeward.cli.forms import TABLE


def register(app: typer.Typer) -> None:
    """Add the verbs of this group."""
    for verb in (demo, up, apply, down, worlds, info):
        app.command()(verb)


def demo(context: typer.Context, files: FilesOrArgument = None, directory: DirectoryArgument = None) -> None:
    """Lose a region under load, and measure the impact.

    Starts a world, sends payments through every gateway, kills the primary's region, shows how another
    one takes over and why, restarts the region, fails back, and compares what clients saw with the
    objectives. Removes the world at the end. Exit status 1: an objective was missed.

    \b
    Examples:
      leeward demo -f examples/payments
    """
    chosen = directory_of(files, directory)
    from leeward.cli import demo as demonstration

    raise typer.Exit(demonstration.demo(session(context), chosen))


def up(
    context: typer.Context,
    files: FilesOrArgument = None,
    directory: DirectoryArgument = None,
    world: Annotated[
        str, typer.Option("--world", envvar="LEEWARD_WORLD", metavar="WORLD", help="Name of the world.")
    ] = "default",
    timeout_s: Annotated[float, timeout_option("120s")] = 120.0,
) -> None:
    """Start a world from your files, and wait until it is ready.

    It runs in the background until `leeward down`. Exit status 5: it was not ready in time; it is
    stopped, and the reason is shown.

    \b
    Examples:
      leeward up -f examples/payments
      leeward up -f examples/payments --world second --timeout 3m
    """
    chosen = directory_of(files, directory)
    from leeward.cli import start

    raise typer.Exit(start.up(session(context, world), chosen, timeout_s=timeout_s))


def apply(
    context: typer.Context,
    dry_run: DryRun = False,
    timeout_s: Annotated[float, timeout_option("5m")] = 300.0,
    world: World = None,
) -> None:
    """Apply changed files to a running world, region by region.

    Reads the files that the world was started from. A region's agent, gateway and database restart where their
    settings changed; regions with a primary come last, after a switchover. Ends when the files are in force: data
    regions have joined or left. Volumes are never deleted. The Fleet's regions and links cannot change.
    Exit status 5: not in force in time; run it again to continue.

    \b
    Examples:
      leeward apply --dry-run
      leeward apply --world second --timeout 10m
    """
    from leeward.cli import apply as applied

    raise typer.Exit(applied.apply(session(context, world), timeout_s=timeout_s, dry_run=dry_run))


def down(context: typer.Context, world: World = None) -> None:
    """Stop a world and remove all that belongs to it.

    \b
    Examples:
      leeward down
      leeward down --world second
    """
    from leeward.cli import running_worlds

    raise typer.Exit(running_worlds.down(session(context, world)))


def worlds(context: typer.Context, output: ListForm = TABLE) -> None:
    """List the worlds on this machine.

    \b
    Examples:
      leeward worlds
      leeward worlds -o json
    """
    from leeward.cli import running_worlds

    raise typer.Exit(running_worlds.listing(session(context, form=output)))


def info(context: typer.Context, world: World = None, output: ReportForm = TABLE) -> None:
    """Print versions and locations.

    \b
    Examples:
      leeward info
      leeward info -o json | jq .home
    """
    from leeward.cli import running_worlds

    raise typer.Exit(running_worlds.info(session(context, world, form=output)))
