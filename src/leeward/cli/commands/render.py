"""Verbs about what clusters run, by the files: render, diff, recommendations, diagram, explain."""

from pathlib import Path
from typing import Annotated

import typer

from leeward.cli.commands.common import REPORTS, AppOption, Files, form_option, session
from leeward.cli.forms import TABLE, Form, Output

ClusterOption = typer.Option("--cluster", "-c", metavar="CLUSTER", show_default=False, help="Name of the cluster.")
OnCluster = Annotated[str | None, ClusterOption]
Kubeconfig = Annotated[
    Path | None,
    typer.Option("--kubeconfig", metavar="FILE", show_default="as kubectl", help="Path to the kubeconfig."),
]
KubeContext = Annotated[
    str | None,
    typer.Option("--context", metavar="CONTEXT", show_default="the Fleet's", help="Kubeconfig context."),
]
YAML = Form(Output.YAML)


def register(app: typer.Typer) -> None:
    """Add the verbs of this group."""
    for verb in (render, diff, recommendations, diagram, explain):
        app.command()(verb)


def render(
    context: typer.Context,
    files: Files,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="OUT", show_default=False, help="Directory to write the tree to.")
    ] = None,
    cluster: OnCluster = None,
    output: Annotated[
        Form, form_option((Output.YAML, Output.JSON, Output.NAME, Output.JSONPATH), default=Output.YAML)
    ] = YAML,
) -> None:
    """Write the GitOps tree, or print what one cluster runs.

    The same files always give the same bytes. Files of an earlier tree that are not in the new one are removed from
    OUT; other files in OUT are kept. -o is the format of what --cluster prints; the tree is always YAML.

    \b
    Examples:
      leeward render -f examples/fnp --out deploy
      leeward render -f examples/payments --cluster atlas-us | kubectl diff -f -
    """
    if (out is None) == (cluster is None):
        raise typer.BadParameter("give either --out or --cluster")
    if out is not None and output != YAML:
        raise typer.BadParameter("-o is for --cluster; the tree is always YAML")
    from leeward.cli import trees

    asked = session(context, form=output)
    if out is not None:
        raise typer.Exit(trees.write(asked, files, out))
    assert cluster is not None
    raise typer.Exit(trees.show(asked, files, cluster))


def diff(
    context: typer.Context,
    files: Files,
    tree: Annotated[
        Path | None, typer.Argument(metavar="TREE", help="A previously rendered tree.", show_default=False)
    ] = None,
    cluster: OnCluster = None,
    kubeconfig: Kubeconfig = None,
    kube_context: KubeContext = None,
) -> None:
    """Show what rendering would change in a tree, or what applying it would change in a running cluster.

    Without TREE this is a dry run on the API server of --cluster, reached by --kubeconfig and --context: + added,
    ~ changed, - has Leeward's label but is no longer rendered, ! rejected. Nothing is applied. Values of secrets are
    not shown.
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

        raise typer.Exit(trees.diff(session(context), files, tree, cluster))
    if cluster is None:
        raise typer.BadParameter("give a TREE or a --cluster to compare with")
    from leeward.cli import live, trees
    from leeward.operate.live import ClusterAccess

    asked = session(context)
    access = ClusterAccess(cluster, kubeconfig, kube_context)
    raise typer.Exit(live.diff(asked, trees.read(asked, files), access))


def recommendations(
    context: typer.Context,
    files: Files,
    cluster: Annotated[str, ClusterOption],
    output: Annotated[Form, form_option(REPORTS)] = TABLE,
    kubeconfig: Kubeconfig = None,
    kube_context: KubeContext = None,
) -> None:
    """Show the recommendations of a cluster's vertical autoscaler next to the current requests.

    For applications with service.autoscaling.vertical: recommend. Nothing is changed; set requests in the
    application's file.

    \b
    Examples:
      leeward recommendations -f examples/fnp --cluster fnp-eu
      leeward recommendations -f examples/fnp -c fnp-eu --kubeconfig ~/.kube/fnp -o json
    """
    from leeward.cli import recommendations as shown
    from leeward.cli import trees
    from leeward.operate.live import ClusterAccess

    asked = session(context, form=output)
    access = ClusterAccess(cluster, kubeconfig, kube_context)
    raise typer.Exit(shown.show(asked, trees.read(asked, files), access))


def diagram(context: typer.Context, files: Files) -> None:
    """Draw the deployment: a Mermaid flowchart.

    \b
    Examples:
      leeward diagram -f examples/fnp > deployment.mmd
    """
    from leeward.cli import trees

    raise typer.Exit(trees.draw(session(context), files))


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
    app: AppOption = None,
    cluster: OnCluster = None,
) -> None:
    """Show the value of a field on each cluster, and where it comes from.

    \b
    Examples:
      leeward explain spec.service.replicas -f examples/fnp
      leeward explain HorizontalPodAutoscaler/fnp.spec.maxReplicas -f examples/fnp --cluster fnp-jp
    """
    from leeward.cli import origins

    raise typer.Exit(origins.explain(session(context, app=app), files, field, cluster))
