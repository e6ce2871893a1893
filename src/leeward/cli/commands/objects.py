"""Verbs that read a region's Kubernetes objects: get, describe, logs."""

from typing import Annotated

import typer

from leeward.cli.commands.common import TABLE, As, InRegion, World, console

KindArgument = Annotated[
    str, typer.Argument(metavar="KIND", help="pods, deployments, services, events ...", show_default=False)
]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", show_default=False, help="Only of this namespace.")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this group."""
    for verb in (get, describe, logs):
        app.command()(verb)


def get(
    context: typer.Context,
    kind: KindArgument,
    region: InRegion,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this one.")] = None,
    namespace: Namespace = None,
    everywhere: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Of every namespace: the default without -n.")
    ] = False,
    output: As = TABLE,
    world: World = None,
) -> None:
    """List what should run in a region, and what does.

    \b
    Examples:
      leeward get pods --region us-east-1
      leeward get statefulset payments-postgres -r japaneast -n payments -o yaml
    """
    from leeward.cli import objects_of

    if everywhere and namespace is not None:
        raise typer.BadParameter("-n and -A contradict each other")
    raise typer.Exit(objects_of.get(console(context), world, region, kind, name, namespace, output))


def describe(
    context: typer.Context,
    kind: KindArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.", show_default=False)],
    region: InRegion,
    namespace: Namespace = None,
    world: World = None,
) -> None:
    """Tell what an object is, how it does and what happened to it.

    \b
    Examples:
      leeward describe pod payments-postgres-0 --region us-east-1
    """
    from leeward.cli import objects_of

    raise typer.Exit(objects_of.describe(console(context), world, region, kind, name, namespace))


def logs(
    context: typer.Context,
    pod: Annotated[str, typer.Argument(metavar="POD", help="The pod.", show_default=False)],
    region: InRegion,
    container: Annotated[
        str | None, typer.Option("--container", "-c", show_default=False, help="When it has more than one.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends, or Ctrl-C.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", min=0, show_default=False, help="Only the last lines.")] = None,
    namespace: Namespace = None,
    world: World = None,
) -> None:
    """Print what a container said.

    \b
    Examples:
      leeward logs payments-postgres-0 --region us-east-1 --tail 20
      leeward logs agent-0 -r japaneast -n leeward-system -f
    """
    from leeward.cli import objects_of

    raise typer.Exit(
        objects_of.logs(console(context), world, region, pod, namespace, container=container, follow=follow, tail=tail)
    )
