"""The verb that names an operator of a world: operator."""

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
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="Who it is, for the decision log.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", show_default=False, help="A new directory.")],
    apps: Annotated[
        list[str] | None,
        typer.Option("--app", metavar="APP", show_default="every one", help="The application; may be repeated."),
    ] = None,
    may: Annotated[
        Right | None, typer.Option("--may", show_default="steer and break", help="What it may do there.")
    ] = None,
    world: World = None,
) -> None:
    """Issue a certificate for an operator who may do less than everything.

    `view`: see the application. `steer`: switchover, pause and resume, too. `break`: failover, which may accept a loss,
    and mode, which may allow one. A drill needs both. Whom no --app limits sees every application. A command acts as
    that operator where LEEWARD_IDENTITY names the directory. The certificate lasts 24 hours and is not renewed. Who can
    read the world's own directory can do everything all the same. On clusters cert-manager issues the same names.

    \b
    Examples:
      leeward operator alice --app payments --may steer -o alice
      LEEWARD_IDENTITY=alice leeward switchover payments --to europe-west1
    """
    from leeward.cli import operators

    if not apps and may is None:
        raise typer.BadParameter("say --app or --may: the world's own operator may do everything")
    operators.issue(console(context), world, name, apps or [], may, out)
