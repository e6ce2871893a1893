"""Compare the files with a running cluster: ``leeward diff`` without a tree. Nothing is changed."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from leeward.adapters.kubernetes import kubeconfig
from leeward.adapters.kubernetes.client import FIELD_MANAGER
from leeward.adapters.kubernetes.review import Found, Identity, Review, Reviewer, identity_of
from leeward.adapters.kubernetes.transport import Connection
from leeward.cli.changes import Change, changes, text_of
from leeward.cli.console import Console, Style
from leeward.cli.exits import CommandError, ExitCode
from leeward.cli.running import run
from leeward.cli.trees import check_cluster, read
from leeward.compile import KubeObject, compile_parts
from leeward.compile.platform.concerns import ELSEWHERE
from leeward.compile.site import all_clusters
from leeward.ports.cluster import ClusterUnavailableError, NotFoundError, RejectedError
from leeward.spec import Problem, Spec
from leeward.world.objects import engine_commands

CALL_S = 20.0
OURS = "app.kubernetes.io/managed-by=leeward"
ARGO_CD = "argocd-controller"
"""The field manager of Argo CD."""


def diff(console: Console, directory: Path, cluster: str, config: Path | None, context: str | None) -> ExitCode:
    """Print what applying the files would change in a cluster.

    Raises CommandError for a cluster that is unreachable, denies access, or lacks definitions; ProblemsError for
    files or a kubeconfig that are wrong.
    """
    spec, foreign = read(console, directory)
    check_cluster(spec, cluster)
    chosen = context or context_of(spec, cluster)
    parts = {
        each.name: compile_parts(spec, each.name, engines=engine_commands(), foreign=foreign)
        for _, each in all_clusters(spec)
    }
    items = [item for part in parts[cluster] if part.name not in ELSEWHERE for item in part.objects]
    # The cluster may also be the one that manages the others.
    elsewhere = {
        identity_of(item)
        for found in parts.values()
        for part in found
        if part.name in ELSEWHERE
        for item in part.objects
    }
    # Fields belong to the manager that applied them: under another name, the server would report no removals.
    manager = FIELD_MANAGER if spec.fleet.spec.gitops is None else ARGO_CD
    with kubeconfig.connection(kubeconfig.read(config, os.environ), chosen) as connection:
        console.note(f"comparing {len(items)} objects with {connection.url} (context {chosen}), as {manager}")
        reviews, found = run(_ask(connection, items, manager), console)
    removed = found.identities - {identity_of(item) for item in items} - elsewhere
    for line in found.hidden:
        console.note(f"not searched for objects that are no longer rendered: {line}")
    return _report(console, reviews, sorted(removed, key=_sortable))


async def _ask(connection: Connection, items: list[KubeObject], manager: str) -> tuple[list[Review], Found]:
    try:
        async with Reviewer(connection) as server:
            unknown = await server.unknown_kinds(items, timeout_s=CALL_S)
            if unknown:
                raise CommandError(_undefined(connection, unknown))
            return (
                await server.review(items, manager=manager, timeout_s=CALL_S),
                await server.labelled(OURS, timeout_s=CALL_S),
            )
    except ClusterUnavailableError as error:
        raise CommandError(unreachable(connection, error)) from None
    except (RejectedError, NotFoundError) as error:
        raise CommandError(refused(connection, error)) from None


def _report(console: Console, reviews: list[Review], removed: list[Identity]) -> ExitCode:
    counts: Counter[str] = Counter()
    for review in reviews:
        if review.refusal is not None:
            counts["refused"] += 1
            console.data(console.mark(f"! {_name(identity_of(review.item))}", Style.BAD))
            console.data(f"    rejected by the server: {review.refusal}")
        elif review.live is None:
            counts["added"] += 1
            console.data(console.mark(f"+ {_name(identity_of(review.item))}", Style.GOOD))
        elif review.after is not None and (found := changes(review.live, review.after)):
            counts["changed"] += 1
            console.data(console.mark(f"~ {_name(identity_of(review.item))}", Style.WARNING))
            for line in _lines(found):
                console.data(f"    {line}")
    for identity in removed:
        counts["no longer rendered"] += 1
        console.data(console.mark(f"- {_name(identity)}", Style.BAD))
    counts["as rendered"] = len(reviews) - counts["refused"] - counts["added"] - counts["changed"]
    console.note(", ".join(f"{count} {what}" for what, count in counts.items()))
    unchecked = sum(review.live is None and review.after is None and review.refusal is None for review in reviews)
    if unchecked:
        console.note(f"{unchecked} not checked: their namespace does not exist yet")
    return ExitCode.DONE if counts["as rendered"] == len(reviews) and not removed else ExitCode.NO


def _lines(found: list[Change]) -> Iterator[str]:
    for change in found:
        yield from text_of(change)


def _name(identity: Identity) -> str:
    _, kind, namespace, name = identity
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def _sortable(identity: Identity) -> tuple[str, ...]:
    group, kind, namespace, name = identity
    return namespace or "", kind, name, group


def context_of(spec: Spec, cluster: str) -> str:
    """Return the kubeconfig context of a cluster of the fleet."""
    (found,) = (each for _, each in all_clusters(spec) if each.name == cluster)
    return found.context or found.name


def _undefined(connection: Connection, unknown: list[tuple[str, str]]) -> Problem:
    kinds = ", ".join(f"{kind} ({api_version})" for api_version, kind in unknown)
    return Problem(
        code="missing-definitions",
        where=connection.url,
        what=f"the cluster lacks {len(unknown)} of the rendered kinds: {kinds}",
        why="their operators, or at least their CustomResourceDefinitions, are not installed",
        fix="install them, or remove from the Fleet what needs them",
    )


def unreachable(connection: Connection, error: ClusterUnavailableError) -> Problem:
    """Return the problem of a cluster that does not answer."""
    return Problem(
        code="cluster-unreachable",
        where=connection.url,
        what="the cluster's API server does not answer",
        why=str(error),
        fix="check that kubectl reaches it with the same context; nothing was compared",
    )


def refused(connection: Connection, error: Exception) -> Problem:
    """Return the problem of a cluster that denies access."""
    return Problem(
        code="cluster-refuses",
        where=connection.url,
        what="the cluster denied the request",
        why=str(error),
        fix="use a context that may read the rendered objects; diff needs the right to apply them, too",
    )
