"""The recommendations of a cluster's vertical autoscaler next to the current requests. Nothing is changed."""

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from leeward.adapters.kubernetes import kubeconfig
from leeward.adapters.kubernetes.client import KubernetesCluster
from leeward.adapters.kubernetes.transport import Connection
from leeward.cli import render
from leeward.cli.console import Console
from leeward.cli.exits import CommandError, ExitCode
from leeward.cli.live import CALL_S, OURS, context_of, refused, unreachable
from leeward.cli.running import run
from leeward.cli.trees import check_cluster, read
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
HEAD = ("NAMESPACE", "NAME", "CONTAINER", "RESOURCE", "REQUESTED", "LOWER", "TARGET", "UPPER")


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


def show(
    console: Console, directory: Path, cluster: str, config: Path | None, context: str | None, *, as_json: bool
) -> ExitCode:
    """Print what a cluster recommends for the containers of our workloads.

    Raises CommandError for a cluster that is unreachable, denies access or has no vertical autoscaler;
    ProblemsError for files or a kubeconfig that are wrong.
    """
    spec, _ = read(console, directory)
    check_cluster(spec, cluster)
    with kubeconfig.connection(kubeconfig.read(config, os.environ), context or context_of(spec, cluster)) as connection:
        autoscalers, deployments = run(_ask(connection), console)
    found = recommendations(autoscalers, deployments)
    if as_json:
        console.data(json.dumps([asdict(each) for each in found], indent=2))
    elif found:
        console.data(render.table(HEAD, [tuple(asdict(each).values()) for each in found]))
    for item in autoscalers:
        if not _of_containers(item):
            metadata = item["metadata"]
            console.note(f"{metadata['namespace']}/{metadata['name']}: {_why_not(item)}")
    if not autoscalers:
        console.note(
            f"{cluster} has no VerticalPodAutoscaler managed by Leeward: set service.autoscaling.vertical to recommend"
        )
    return ExitCode.DONE


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
        raise CommandError(unreachable(connection, error)) from None
    except NotFoundError:
        raise CommandError(_no_autoscaler(connection)) from None
    except RejectedError as error:
        raise CommandError(refused(connection, error)) from None


def _no_autoscaler(connection: Connection) -> Problem:
    return Problem(
        code="missing-definitions",
        where=connection.url,
        what="the cluster has no VerticalPodAutoscaler API",
        why="the vertical autoscaler, or at least its CustomResourceDefinitions, is not installed",
        fix="install the vertical autoscaler; its recommender is enough",
    )
