"""The verb that restores the quorum store from a backup: restore-store."""

from pathlib import Path
from typing import Annotated

import typer

from leeward.cli.commands.common import DryRun, World, session, timeout_option


def register(app: typer.Typer) -> None:
    """Add the verbs of this group."""
    app.command()(restore_store)


def restore_store(
    context: typer.Context,
    backup: Annotated[
        Path | None,
        typer.Argument(metavar="BACKUP", show_default=False, help="Backup file written by an agent or etcdctl."),
    ] = None,
    latest: Annotated[
        bool, typer.Option("--latest", help="Use the newest complete backup of the world's regions.")
    ] = False,
    confirm: Annotated[
        str | None,
        typer.Option("--confirm", metavar="FLEET", show_default=False, help="Type the fleet's name to confirm."),
    ] = None,
    timeout_s: Annotated[float, timeout_option("120s")] = 120.0,
    dry_run: DryRun = False,
    world: World = None,
    fleet: Annotated[
        str | None,
        typer.Option("--fleet", metavar="FLEET", show_default=False, help="With --out: name of the store's fleet."),
    ] = None,
    members: Annotated[
        str | None,
        typer.Option(
            "--initial-cluster",
            metavar="REGION=URL,...",
            show_default=False,
            help="With --out: peer URL of every member, as in the etcd StatefulSets.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="OUT", show_default=False, help="Only create a data directory per region, in OUT."
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            "--region",
            "-r",
            metavar="REGION",
            show_default="the first",
            help="With --out: restoring region, for the decision log.",
        ),
    ] = None,
) -> None:
    """Restore the quorum store from a backup: of a running world, or into directories.

    In a world: checks the backup, starts a new generation in it, stops every member, replaces their data, starts
    them, and waits until every application accepts writes. Agents detect the new generation, give up their leases,
    and elect every primary again, under epochs above all that any instance has seen. Ctrl-C before the members start
    restores the previous state. Needs --confirm FLEET.

    With --out: creates a data directory for every region's member; nothing running is touched. Replace each member's
    data directory with its new one while no member runs.

    \b
    Examples:
      leeward restore-store --latest --dry-run
      leeward restore-store --latest --confirm atlas
      leeward restore-store 20260101T000000Z-7.db --fleet atlas --out restored \\
        --initial-cluster us=https://10.0.0.1:2380,eu=https://10.1.0.1:2380,ap=https://10.2.0.1:2380
    """
    if (backup is None) != latest:
        raise typer.BadParameter("give either BACKUP or --latest")
    if out is None and (fleet, members, region) == (None, None, None):
        from leeward.cli import restore
        from leeward.operate.restore_world import RestoreRequest

        request = RestoreRequest(backup, confirm, dry_run, timeout_s)
        raise typer.Exit(restore.world(session(context, world), request))
    if out is None or fleet is None or members is None or backup is None:
        raise typer.BadParameter("data directories need BACKUP, --fleet, --initial-cluster and --out")
    from leeward.cli import restore
    from leeward.operate.restoring import Members, peer_urls

    wanted = Members(backup, fleet, peer_urls(members), out, region)
    raise typer.Exit(restore.store(session(context), wanted))
