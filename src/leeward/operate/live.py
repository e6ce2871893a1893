"""Compare the files with a running cluster, by a dry run on its API server. Nothing is changed."""

import os
from dataclasses import dataclass
from pathlib import Path

from leeward.adapters.kubernetes import kubeconfig
from leeward.adapters.kubernetes.client import FIELD_MANAGER
from leeward.adapters.kubernetes.review import Found, Identity, Review, Reviewer, identity_of
from leeward.adapters.kubernetes.transport import Connection
from leeward.compile import KubeObject, compile_parts
from leeward.compile.platform.concerns import ELSEWHERE
from leeward.compile.site import all_clusters
from leeward.operate.changes import Change, changes
from leeward.operate.outcome import OperationError, Progress
from leeward.operate.trees import Files, check_cluster
from leeward.ports.cluster import ClusterUnavailableError, NotFoundError, RejectedError
from leeward.spec import Problem, Spec
from leeward.world.objects import engine_commands

CALL_S = 20.0
OURS = "app.kubernetes.io/managed-by=leeward"
ARGO_CD = "argocd-controller"
"""The field manager of Argo CD."""


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """Which cluster of the fleet, and how to reach it."""

    cluster: str
    config: Path | None
    """The kubeconfig; None: as kubectl finds it."""
    context: str | None
    """None: the one that the Fleet names."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What applying the files would change in a cluster."""

    reviews: list[Review]
    removed: list[Identity]
    """With our label, and no longer rendered."""
    not_searched: list[str]
    """Where there may be more of those, and why."""


async def compare(files: Files, access: ClusterAccess, progress: Progress) -> Comparison:
    """Return what applying the files would change in a cluster.

    Raises OperationError for a cluster that is unreachable, denies access, or lacks definitions; ProblemsError for
    files or a kubeconfig that are wrong.
    """
    spec, cluster = files.spec, access.cluster
    check_cluster(spec, cluster)
    chosen = access.context or context_of(spec, cluster)
    parts = {
        each.name: compile_parts(spec, each.name, engines=engine_commands(), foreign=files.foreign)
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
    with kubeconfig.connection(kubeconfig.read(access.config, os.environ), chosen) as connection:
        progress.note(f"comparing {len(items)} objects with {connection.url} (context {chosen}), as {manager}")
        reviews, labelled = await _ask(connection, items, manager)
    removed = labelled.identities - {identity_of(item) for item in items} - elsewhere
    return Comparison(reviews, sorted(removed, key=_sortable), list(labelled.hidden))


def changes_of(review: Review) -> list[Change]:
    """Return the fields of an object that applying it would change; empty when it does not exist or is rejected."""
    return [] if review.live is None or review.after is None else changes(review.live, review.after)


async def _ask(connection: Connection, items: list[KubeObject], manager: str) -> tuple[list[Review], Found]:
    try:
        async with Reviewer(connection) as server:
            unknown = await server.unknown_kinds(items, timeout_s=CALL_S)
            if unknown:
                raise OperationError(_undefined(connection, unknown))
            return (
                await server.review(items, manager=manager, timeout_s=CALL_S),
                await server.labelled(OURS, timeout_s=CALL_S),
            )
    except ClusterUnavailableError as error:
        raise OperationError(unreachable(connection, error)) from None
    except (RejectedError, NotFoundError) as error:
        raise OperationError(refused(connection, error)) from None


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
