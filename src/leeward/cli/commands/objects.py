"""Verbs that read a region's Kubernetes objects: get, describe, logs."""

from typing import Annotated

import typer

from leeward.cli.commands.common import InRegion, ListForm, World, session
from leeward.cli.forms import TABLE

KindArgument = Annotated[
    str, typer.Argument(metavar="KIND", help="pods, deployments, services, events ...", show_default=False)
]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", metavar="NAMESPACE", show_default=False, help="Only this namespace.")
]


def register(app: typer.Typer) -> None:
    """Add the verbs of this group."""
    for verb in (get, describe, logs):
        app.command()(verb)


def get(
    context: typer.Context,
    kind: KindArgument,
    region: InRegion,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Only the object of this name.", show_default=False)
    ] = None,
    namespace: Namespace = None,
    everywhere: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="All namespaces; the default without -n.")
    ] = False,
    output: ListForm = TABLE,
    world: World = None,
) -> None:
    """List the Kubernetes objects of a region.

    \b
    Examples:
      leeward get pods --region us-east-1
      leeward get statefulset payments-postgres -r japaneast -n payments -o yaml
    """
    if everywhere and namespace is not None:
        raise typer.BadParameter("-n and -A cannot be combined")
    from leeward.cli import objects_of
    from leeward.operate.objects import Where

    raise typer.Exit(objects_of.get(session(context, world, form=output), Where(region, namespace), kind, name))


def describe(
    context: typer.Context,
    kind: KindArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the object.", show_default=False)],
    region: InRegion,
    namespace: Namespace = None,
    world: World = None,
) -> None:
    """Show an object with its conditions and events.

    \b
    Examples:
      leeward describe pod payments-postgres-0 --region us-east-1
    """
    from leeward.cli import objects_of
    from leeward.operate.objects import Where

    raise typer.Exit(objects_of.describe(session(context, world), Where(region, namespace), kind, name))


def logs(
    context: typer.Context,
    pod: Annotated[str, typer.Argument(metavar="POD", help="Name of the pod.", show_default=False)],
    region: InRegion,
    container: Annotated[
        str | None,
        typer.Option(
            "--container",
            "-c",
            metavar="CONTAINER",
            show_default=False,
            help="Container; needed when the pod has several.",
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stream until the container ends, or Ctrl-C.")] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", min=0, show_default=False, help="Only this many of the last lines.")
    ] = None,
    namespace: Namespace = None,
    world: World = None,
) -> None:
    """Print the log of a container.

    \b
    Examples:
      leeward logs payments-postgres-0 --region us-east-1 --tail 20
      leeward logs agent-0 -r japaneast -n leeward-system -f
    """
    from leeward.cli import objects_of
    from leeward.operate.objects import LogRequest, Where

    wanted = LogRequest(pod, container, follow, tail)
    raise typer.Exit(objects_of.logs(session(context, world), Where(region, namespace), wanted))
