"""Verbs that request a change: switchover, failover, mode, pause, resume."""

from typing import Annotated

import typer

from leeward.cli.commands.common import App, Confirm, DryRun, World, session, timeout_option
from leeward.cli.forms import Mode

To = Annotated[str, typer.Option("--to", metavar="REGION", help="Region of the new primary.", show_default=False)]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done, or return at once.")]
Timeout = Annotated[float, timeout_option("30s")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this group."""
    for verb in (switchover, failover, mode, pause, resume):
        app.command()(verb)


def switchover(
    context: typer.Context,
    app: App,
    to: To,
    wait: Wait = True,
    timeout_s: Timeout = 30.0,
    dry_run: DryRun = False,
    world: World = None,
) -> None:
    """Move the primary on purpose, without losing a write.

    Exit status 6: refused as unsafe. 5: not done in time.

    \b
    Examples:
      leeward switchover payments --to europe-west1
      leeward switchover payments --to us-east-1 --timeout 1m
    """
    from leeward.cli import steer
    from leeward.operate import steering

    change = steering.switchover(app, to, wait=wait)
    raise typer.Exit(steer.ask(session(context, world, app), change, timeout_s=timeout_s, dry_run=dry_run))


def failover(
    context: typer.Context,
    app: App,
    to: To,
    confirm: Confirm = None,
    wait: Wait = True,
    timeout_s: Timeout = 30.0,
    dry_run: DryRun = False,
    world: World = None,
) -> None:
    """Depose the primary and elect another one, now. Asynchronous writes may be lost.

    For a primary that is broken but not gone; a lost region needs no command. Needs --confirm APP.
    Exit status 6: refused, because another replica has writes that this one lacks.

    \b
    Examples:
      leeward failover payments --to europe-west1 --dry-run
      leeward failover payments --to europe-west1 --confirm payments
    """
    from leeward.cli import steer
    from leeward.operate import steering

    change = steering.failover(app, to, wait=wait)
    raise typer.Exit(
        steer.ask(session(context, world, app), change, timeout_s=timeout_s, dry_run=dry_run, confirm=confirm)
    )


def mode(
    context: typer.Context,
    app: App,
    replication: Annotated[Mode, typer.Argument(help="Replication mode.")],
    confirm: Confirm = None,
    wait: Wait = True,
    timeout_s: Timeout = 30.0,
    dry_run: DryRun = False,
    world: World = None,
) -> None:
    """Change the replication mode at runtime.

    With async a failover may lose acknowledged writes: needs --confirm APP.

    \b
    Examples:
      leeward mode payments sync
      leeward mode payments async --confirm payments
    """
    from leeward.cli import steer
    from leeward.core.values import ReplicationMode
    from leeward.operate import steering

    change = steering.mode(app, ReplicationMode(replication), wait=wait)
    raise typer.Exit(
        steer.ask(session(context, world, app), change, timeout_s=timeout_s, dry_run=dry_run, confirm=confirm)
    )


def pause(
    context: typer.Context, app: App, confirm: Confirm = None, dry_run: DryRun = False, world: World = None
) -> None:
    """Pause automatic failover, for maintenance.

    If the primary is lost meanwhile, it stays down until `leeward resume`: needs --confirm APP.

    \b
    Examples:
      leeward pause payments --confirm payments
    """
    from leeward.cli import steer
    from leeward.operate import steering

    change = steering.pause(app)
    raise typer.Exit(steer.ask(session(context, world, app), change, timeout_s=5.0, dry_run=dry_run, confirm=confirm))


def resume(context: typer.Context, app: App, dry_run: DryRun = False, world: World = None) -> None:
    """Allow automatic failover again.

    \b
    Examples:
      leeward resume payments
    """
    from leeward.cli import steer
    from leeward.operate import steering

    change = steering.resume(app)
    raise typer.Exit(steer.ask(session(context, world, app), change, timeout_s=5.0, dry_run=dry_run))
