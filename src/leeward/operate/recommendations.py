"""The recommendations of a cluster's vertical autoscaler next to the current requests. Nothing is changed."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass

from leeward.adapters.kubernetes import kubeconfig
from leeward.adapters.kubernetes.client import KubernetesCluster
from leeward.adapters.kubernetes.transport import Connection
from leeward.operate.live import CALL_S, OURS, ClusterAccess, context_of, refused, unreachable
from leeward.operate.outcome import OperationError
from leeward.operate.trees import Files, check_cluster
from leeward.ports.cluster import (
    DEPLOYMENTS,
    VERTICAL_POD_AUTOSCALERS,
    ClusterUnavailableError,
    KubeObject,
    NotFoundError,
    RejectedError,
)
from leeward.spec import Problem

RESOURCES = ("cpu", "memory")


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One resource of one container. Quantities as Kubernetes writes them; None: not reported."""

    namespace: str
    name: str
    container: str
    resource: str
    requested: str | None
    lower: str | None
    target: str | None
    upper: str | None


@dataclass(frozen=True, slots=True)
class Recommendations:
    """What a cluster recommends."""

    items: list[Recommendation]
    missing: list[str]
    """Autoscalers without a recommendation, and why."""
    autoscalers: int


async def recommended(files: Files, access: ClusterAccess) -> Recommendations:
    """Return what a cluster recommends for the containers of our workloads.

    Raises OperationError for a cluster that is unreachable, denies access or has no vertical autoscaler;
    ProblemsError for files or a kubeconfig that are wrong.
    """
    check_cluster(files.spec, access.cluster)
    chosen = access.context or context_of(files.spec, access.cluster)
    with kubeconfig.connection(kubeconfig.read(access.config, os.environ), chosen) as connection:
        autoscalers, deployments = await _ask(connection)
    missing = [
        f"{item['metadata']['namespace']}/{item['metadata']['name']}: {_why_not(item)}"
        for item in autoscalers
        if not _of_containers(item)
    ]
    return Recommendations(recommendations(autoscalers, deployments), missing, len(autoscalers))


def recommendations(autoscalers: list[KubeObject], deployments: list[KubeObject]) -> list[Recommendation]:
    """Return every recommendation, in a stable order."""
    requests = {
        (item["metadata"]["namespace"], item["metadata"]["name"], container["name"]): container
        for item in deployments
        for container in item["spec"]["template"]["spec"]["containers"]
    }
    return sorted(_rows(autoscalers, requests), key=lambda each: (each.namespace, each.name, each.container))


def _rows(autoscalers: list[KubeObject], requests: dict[tuple[str, str, str], KubeObject]) -> Iterator[Recommendation]:
    for item in autoscalers:
        namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
        target = item["spec"]["targetRef"]["name"]
        for recommended in _of_containers(item):
            container = requests.get((namespace, target, recommended["containerName"]), {})
            for resource in RESOURCES:
                yield Recommendation(
                    namespace,
                    name,
                    recommended["containerName"],
                    resource,
                    container.get("resources", {}).get("requests", {}).get(resource),
                    recommended.get("lowerBound", {}).get(resource),
                    recommended.get("target", {}).get(resource),
                    recommended.get("upperBound", {}).get(resource),
                )


def _of_containers(item: KubeObject) -> list[KubeObject]:
    return list(item.get("status", {}).get("recommendation", {}).get("containerRecommendations") or ())


def _why_not(item: KubeObject) -> str:
    for each in item.get("status", {}).get("conditions") or ():
        if each["type"] == "RecommendationProvided" and each["status"] != "True":
            return f"no recommendation: {each.get('message') or each.get('reason') or 'no reason given'}"
    return "no recommendation yet: the recommender must be running, and needs some hours of usage data"


async def _ask(connection: Connection) -> tuple[list[KubeObject], list[KubeObject]]:
    try:
        async with KubernetesCluster(connection) as server:
            answers = await asyncio.gather(
                *(
                    server.list(resource, label_selector=OURS, timeout_s=CALL_S)
                    for resource in (VERTICAL_POD_AUTOSCALERS, DEPLOYMENTS)
                )
            )
            return list(answers[0].items), list(answers[1].items)
    except ClusterUnavailableError as error:
        raise OperationError(unreachable(connection, error)) from None
    except NotFoundError:
        raise OperationError(_no_autoscaler(connection)) from None
    except RejectedError as error:
        raise OperationError(refused(connection, error)) from None


def _no_autoscaler(connection: Connection) -> Problem:
    return Problem(
        code="missing-definitions",
        where=connection.url,
        what="the cluster has no VerticalPodAutoscaler API",
        why="the vertical autoscaler, or at least its CustomResourceDefinitions, is not installed",
        fix="install the vertical autoscaler; its recommender is enough",
    )
