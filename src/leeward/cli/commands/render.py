"""Verbs about what clusters run, by the files: render, diff, recommendations, diagram, explain."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from leeward.cli.commands.common import console

Files = Annotated[
    Path,
    typer.Option(
        "-f", "--files", metavar="DIR", help="Directory with the Fleet and the Applications.", show_default=False
    ),
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
    for verb in (render, diff, recommendations, diagram, explain):
        app.command()(verb)


def render(
    context: typer.Context,
    files: Files,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="OUT", show_default=False, help="Directory to write the tree to."),
    ] = None,
    cluster: OnCluster = None,
    form: Annotated[
        Form | None, typer.Option("--format", show_default="yaml", help="With --cluster: output format.")
    ] = None,
) -> None:
    """Write the GitOps tree, or print what one cluster runs.

    The same files always give the same bytes. Files of an earlier tree that are not in the new one are removed from
    OUT; other files in OUT are kept.

    \b
    Examples:
      leeward render -f examples/fnp -o deploy
      leeward render -f examples/payments --cluster atlas-us | kubectl diff -f -
    """
    from leeward.cli import trees

    if (out is None) == (cluster is None):
        raise typer.BadParameter("give either --out or --cluster")
    if out is not None:
        if form is not None:
            raise typer.BadParameter("--format is for --cluster; the tree is always YAML")
        raise typer.Exit(trees.write(console(context), files, out))
    assert cluster is not None
    raise typer.Exit(trees.show(console(context), files, cluster, as_json=form is Form.JSON))


def diff(
    context: typer.Context,
    files: Files,
    tree: Annotated[
        Path | None, typer.Argument(metavar="TREE", help="A previously rendered tree.", show_default=False)
    ] = None,
    cluster: OnCluster = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default="as kubectl", help="Without TREE: path to the kubeconfig."),
    ] = None,
    kube_context: Annotated[
        str | None,
        typer.Option(
            "--context", metavar="CONTEXT", show_default="the Fleet's", help="Without TREE: kubeconfig context."
        ),
    ] = None,
) -> None:
    """Show what rendering would change in a tree, or what applying it would change in a running cluster.

    Without TREE this is a dry run on the cluster's API server: + added, ~ changed, - has Leeward's label but is no
    longer rendered, ! rejected. Nothing is applied. Values of secrets are not shown.
    Exit status 0: no difference; 1: differences; 2: could not compare.

    \b
    Examples:
      leeward diff -f examples/fnp deploy
      leeward diff -f examples/fnp deploy --cluster fnp-eu
      leeward diff -f examples/fnp --cluster fnp-eu
      leeward diff -f examples/fnp --cluster fnp-eu --kubeconfig ~/.kube/fnp --context admin@fnp-eu
    """
    if tree is not None:
        if kubeconfig is not None or kube_context is not None:
            raise typer.BadParameter("--kubeconfig and --context are for a running cluster; leave out TREE")
        from leeward.cli import trees

        raise typer.Exit(trees.diff(console(context), files, tree, cluster))
    if cluster is None:
        raise typer.BadParameter("give a TREE or a --cluster to compare with")
    from leeward.cli import live

    raise typer.Exit(live.diff(console(context), files, cluster, kubeconfig, kube_context))


def recommendations(
    context: typer.Context,
    files: Files,
    cluster: Annotated[
        str, typer.Option("--cluster", "-c", metavar="CLUSTER", show_default=False, help="Cluster to query.")
    ],
    form: Annotated[
        Form | None, typer.Option("--format", show_default="a table", help="json: print one JSON document.")
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default="as kubectl", help="Path to the kubeconfig.")
    ] = None,
    kube_context: Annotated[
        str | None, typer.Option("--context", metavar="CONTEXT", show_default="the Fleet's", help="Kubeconfig context.")
    ] = None,
) -> None:
    """Show the recommendations of a cluster's vertical autoscaler next to the current requests.

    For applications with service.autoscaling.vertical: recommend. Nothing is changed; set requests in the
    application's file.

    \b
    Examples:
      leeward recommendations -f examples/fnp --cluster fnp-eu
      leeward recommendations -f examples/fnp -c fnp-eu --kubeconfig ~/.kube/fnp --format json
    """
    from leeward.cli import recommendations as shown

    if form is Form.YAML:
        raise typer.BadParameter("--format must be json or left out")
    as_json = form is Form.JSON
    raise typer.Exit(shown.show(console(context), files, cluster, kubeconfig, kube_context, as_json=as_json))


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
            help="Field of an application, as spec.service.replicas, or of an object, as Deployment/fnp.spec.replicas.",
            show_default=False,
        ),
    ],
    files: Files,
    application: Annotated[
        str | None,
        typer.Option(
            "--application", "-a", metavar="APP", show_default="the only one", help="Application that owns the field."
        ),
    ] = None,
    cluster: OnCluster = None,
) -> None:
    """Show the value of a field on each cluster, and where it comes from.

    \b
    Examples:
      leeward explain spec.service.replicas -f examples/fnp
      leeward explain HorizontalPodAutoscaler/fnp.spec.maxReplicas -f examples/fnp --cluster fnp-jp
    """
    from leeward.cli import origins

    raise typer.Exit(origins.explain(console(context), files, field, application, cluster))
