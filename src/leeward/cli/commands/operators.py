"""The verbs of certificates: operator, rotate-authorities."""

from pathlib import Path
from typing import Annotated

import typer

from leeward.cli.commands.common import World, session, timeout_option
from leeward.core.identities import Purpose, Right


def register(app: typer.Typer) -> None:
    """Add the verbs of this group."""
    app.command()(operator)
    app.command()(rotate_authorities)


def operator(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, help="Name of the operator, for the decision log.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="OUT", show_default=False, help="Directory to create.")],
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
      leeward operator alice --app payments --may steer --out alice
      LEEWARD_IDENTITY=alice leeward switchover payments --to europe-west1
    """
    if not apps and may is None:
        raise typer.BadParameter("give --app or --may; the world's own operator already has all rights")
    from leeward.cli import operators

    raise typer.Exit(operators.show(session(context, world), name, apps or [], may, out))


def rotate_authorities(
    context: typer.Context,
    purposes: Annotated[
        list[Purpose] | None,
        typer.Option(
            "--purpose", metavar="PURPOSE", show_default="all", help="Purpose of an authority; may be repeated."
        ),
    ] = None,
    timeout_s: Annotated[float, timeout_option("600s")] = 600.0,
    world: World = None,
) -> None:
    """Exchange the certificate authorities of a running world.

    Announces new authorities, issues every certificate from them, and removes the old ones; at each stage, what a
    process shows is accepted by the others. No database, agent or gateway is restarted. For the purposes store_client
    and store_peer the members of the quorum store are restarted one after the other, twice. Certificates issued by
    `leeward operator` are refused at the end: issue new ones. An interrupted command goes on when it is repeated.

    \b
    Examples:
      leeward rotate-authorities
      leeward rotate-authorities --purpose fleet
    """
    from leeward.cli import rotation

    raise typer.Exit(rotation.show(session(context, world), tuple(dict.fromkeys(purposes or Purpose)), timeout_s))
