"""The verb that issues an operator's certificate: operator."""

from pathlib import Path
from typing import Annotated

import typer

from leeward.cli.commands.common import World, console
from leeward.core.identities import Right


def register(app: typer.Typer) -> None:
    """Add the verbs of this group."""
    app.command()(operator)


def operator(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, help="Name of the operator, for the decision log.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", show_default=False, help="Directory to create.")],
    apps: Annotated[
        list[str] | None,
        typer.Option(
            "--app", metavar="APP", show_default="all", help="Application to grant the right for; may be repeated."
        ),
    ] = None,
    may: Annotated[Right | None, typer.Option("--may", show_default="steer and break", help="Right to grant.")] = None,
    world: World = None,
) -> None:
    """Issue a certificate for an operator with limited rights.

    `view`: see the application. `steer`: switchover, pause and resume, too. `break`: failover, which may lose writes,
    and mode, which may allow that. A drill needs both rights. Without --app the operator sees every application.
    Commands act as that operator when LEEWARD_IDENTITY is set to the directory. The certificate is valid for 24 hours
    and is not renewed. Anyone who can read the world's own directory still has all rights. On clusters, cert-manager
    issues certificates with the same names.

    \b
    Examples:
      leeward operator alice --app payments --may steer -o alice
      LEEWARD_IDENTITY=alice leeward switchover payments --to europe-west1
    """
    from leeward.cli import operators

    if not apps and may is None:
        raise typer.BadParameter("give --app or --may; the world's own operator already has all rights")
    operators.issue(console(context), world, name, apps or [], may, out)
