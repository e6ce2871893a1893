"""Read a region's Kubernetes objects and logs, through its API server."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from leeward.adapters.kubernetes.client import KubernetesCluster
from leeward.base.problem import Problem
from leeward.operate.fleet import Fleet
from leeward.operate.outcome import OperationError, Outcome
from leeward.ports.cluster import (
    BUILT_IN,
    EVENTS,
    MULTI_CLUSTER_SERVICES,
    PODS,
    ClusterUnavailableError,
    KubeObject,
    NotFoundError,
    RejectedError,
    Resource,
)

TIMEOUT_S = 5.0
SHORT_NAMES = {
    "cm": "configmaps",
    "deploy": "deployments",
    "ep": "endpoints",
    "ev": "events",
    "hpa": "horizontalpodautoscalers",
    "netpol": "networkpolicies",
    "no": "nodes",
    "ns": "namespaces",
    "pdb": "poddisruptionbudgets",
    "po": "pods",
    "pvc": "persistentvolumeclaims",
    "rs": "replicasets",
    "sa": "serviceaccounts",
    "sts": "statefulsets",
    "svc": "services",
}


@dataclass(frozen=True, slots=True)
class Where:
    """A region, and one of its namespaces or all."""

    region: str
    namespace: str | None


def resource(kind: str) -> Resource:
    """Return the kind named ``pods``, ``pod``, ``Pod`` or ``po``. Raises OperationError."""
    wanted = SHORT_NAMES.get(kind.lower(), kind.lower())
    for known in (*BUILT_IN, *MULTI_CLUSTER_SERVICES):
        if wanted in (known.plural, known.kind.lower()):
            return known
    raise OperationError(
        Problem(
            code="unknown-kind",
            where="command line",
            what=f"unknown kind {kind!r}",
            why=f"known kinds: {', '.join(each.plural for each in BUILT_IN)}",
            fix="use one of these; short names such as po, deploy, sts, svc work too",
        )
    )


async def find(fleet: Fleet, where: Where, kind: Resource, name: str | None) -> list[KubeObject]:
    """Return the objects of a kind, or the ones of that name. Raises OperationError, ProblemsError."""
    async with fleet.cluster(where.region) as cluster:
        return await _objects(cluster, where.region, kind, name, where.namespace)


async def with_events(fleet: Fleet, where: Where, kind: Resource, name: str) -> tuple[KubeObject, list[KubeObject]]:
    """Return one object, and the events about it. Raises OperationError, ProblemsError."""
    async with fleet.cluster(where.region) as cluster:
        item = await _one(cluster, where.region, kind, name, where.namespace)
        events = await _objects(cluster, where.region, EVENTS, None, item["metadata"].get("namespace"))
        involved = (kind.kind, name)
        return item, [
            event
            for event in events
            if (event["involvedObject"].get("kind"), event["involvedObject"].get("name")) == involved
        ]


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Which log, and how much of it."""

    pod: str
    container: str | None
    """None: the only one."""
    follow: bool
    tail: int | None
    """Only this many of the last lines."""


async def log(fleet: Fleet, where: Where, wanted: LogRequest) -> AsyncIterator[bytes]:
    """Yield a container's log in pieces. Raises OperationError, ProblemsError."""
    async with fleet.cluster(where.region) as cluster:
        item = await _one(cluster, where.region, PODS, wanted.pod, where.namespace)
        pieces = cluster.logs(
            wanted.pod,
            namespace=item["metadata"]["namespace"],
            container=wanted.container,
            follow=wanted.follow,
            tail_lines=wanted.tail,
            timeout_s=TIMEOUT_S,
        )
        try:
            async for piece in pieces:
                yield piece
        except (ClusterUnavailableError, NotFoundError, RejectedError) as error:
            raise unreachable(where.region, error) from error


async def _objects(
    cluster: KubernetesCluster, region: str, resource: Resource, name: str | None, namespace: str | None
) -> list[KubeObject]:
    try:
        listing = await cluster.list(resource, namespace=namespace, timeout_s=TIMEOUT_S)
    except (ClusterUnavailableError, NotFoundError, RejectedError) as error:
        raise unreachable(region, error) from error
    found = [item for item in listing.items if name is None or item["metadata"]["name"] == name]
    if name is not None and not found:
        known = ", ".join(sorted(item["metadata"]["name"] for item in listing.items)) or "none"
        raise OperationError(
            Problem(
                code="not-found",
                where=f"region {region}",
                what=f"{resource.kind} {name!r} was not found in {namespace or 'any namespace'}",
                why=f"its {resource.plural} are: {known}",
                fix=f"use one of these; leeward get {resource.plural} --region {region} lists them",
            ),
            outcome=Outcome.NO,
        )
    return found


async def _one(
    cluster: KubernetesCluster, region: str, resource: Resource, name: str, namespace: str | None
) -> KubeObject:
    """Return the one object of that name, in any namespace."""
    found = await _objects(cluster, region, resource, name, namespace)
    if len(found) > 1:
        namespaces = [item["metadata"]["namespace"] for item in found]
        raise OperationError(
            Problem(
                code="ambiguous-name",
                where=f"region {region}",
                what=f"{len(found)} namespaces have a {resource.kind} {name!r}",
                why=f"they are {', '.join(namespaces)}",
                fix=f"choose one: -n {namespaces[0]}",
            )
        )
    return found[0]


def unreachable(region: str, error: Exception) -> OperationError:
    """Return the error of a region's API server that failed a request."""
    return OperationError(
        Problem(
            code="api-server",
            where=f"API server of region {region}",
            what="the request failed",
            why=str(error),
            fix="check in leeward status whether the region is lost; leeward fault start --region restarts it",
        )
    )
