"""Verbs that turn the files into what clusters run: render, diff, diagram, explain."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from leeward.cli.commands.common import console

Files = Annotated[
    Path, typer.Option("-f", "--files", metavar="DIR", help="Holds the Fleet and the Applications.", show_default=False)
]
OnCluster = Annotated[
    str | None, typer.Option("--cluster", "-c", metavar="CLUSTER", show_default=False, help="Only this cluster.")
]


class Form(StrEnum):
    """How objects are printed."""

    YAML = "yaml"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the verbs of this group."""
    for verb in (render, diff, diagram, explain):
        app.command()(verb)


def render(
    context: typer.Context,
    files: Files,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="OUT", show_default=False, help="Write the whole tree here.")
    ] = None,
    cluster: OnCluster = None,
    form: Annotated[Form, typer.Option("--format", help="With --cluster: how to print them.")] = Form.YAML,
) -> None:
    """Write the GitOps tree, or print what one cluster runs.

    The same files always give the same bytes. Files of an earlier tree that are no part of the new one are removed
    from OUT; anything else in OUT stays.

    \b
    Examples:
      leeward render -f examples/fnp -o deploy
      leeward render -f examples/payments --cluster atlas-us | kubectl diff -f -
    """
    from leeward.cli import trees

    if (out is None) == (cluster is None):
        raise typer.BadParameter("say either --out or --cluster")
    if out is not None:
        raise typer.Exit(trees.write(console(context), files, out))
    assert cluster is not None
    raise typer.Exit(trees.show(console(context), files, cluster, as_json=form is Form.JSON))


def diff(
    context: typer.Context,
    files: Files,
    tree: Annotated[Path, typer.Argument(metavar="TREE", help="A tree rendered before.", show_default=False)],
    cluster: OnCluster = None,
) -> None:
    """Show what rendering would change in a tree.

    Exit status 0: nothing; 1: something.

    \b
    Examples:
      leeward diff -f examples/fnp deploy
      leeward diff -f examples/fnp deploy --cluster fnp-eu
    """
    from leeward.cli import trees

    raise typer.Exit(trees.diff(console(context), files, tree, cluster))


def diagram(context: typer.Context, files: Files) -> None:
    """Draw the deployment: a Mermaid flowchart.

    \b
    Examples:
      leeward diagram -f examples/fnp > deployment.mmd
    """
    from leeward.cli import trees

    raise typer.Exit(trees.draw(console(context), files))


def explain(
    context: typer.Context,
    field: Annotated[
        str,
        typer.Argument(
            metavar="FIELD",
            help="Of an application, such as spec.service.replicas; or of an object: Deployment/fnp.spec.replicas.",
            show_default=False,
        ),
    ],
    files: Files,
    application: Annotated[
        str | None, typer.Option("--application", "-a", metavar="APP", show_default="the only one", help="Whose.")
    ] = None,
    cluster: OnCluster = None,
) -> None:
    """Tell what a value is on each cluster, and where it comes from.

    \b
    Examples:
      leeward explain spec.service.replicas -f examples/fnp
      leeward explain HorizontalPodAutoscaler/fnp.spec.maxReplicas -f examples/fnp --cluster fnp-jp
    """
    from leeward.cli import origins

    raise typer.Exit(origins.explain(console(context), files, field, application, cluster))
