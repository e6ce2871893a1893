"""What an application may use of a cluster: a quota that admits it at its maximum, and defaults for its containers.

Always true: the quota covers the service at the autoscaler's maximum plus the pod a rollout adds (twice that while
Flagger runs two versions), the database with the job that starts it, and a mesh's sidecars. Everything a quota counts
has a default, since a pod without the amount would be refused.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from leeward.base.problem import Problem, ProblemsError
from leeward.compile.kube.objects import KubeObject, object_of
from leeward.compile.site import Site
from leeward.spec.application import Application
from leeward.spec.platform import MeshKind
from leeward.spec.spec import rollout_pods_max
from leeward.spec.values import Quantity, parse_quantity

DEFAULT_REQUEST = {"cpu": "100m", "memory": "128Mi"}
DEFAULT_LIMIT = "512Mi"
# What Istio's injected proxy asks for.
PROXY_REQUEST = {"cpu": "100m", "memory": "128Mi"}
PROXY_LIMIT = {"memory": "1Gi"}
GATEWAY_PODS = 2
ROOM = Decimal("1.1")


@dataclass(frozen=True, slots=True)
class Need:
    """What an application asks of a cluster at most."""

    pods: int
    cpu: Decimal
    memory: Decimal
    memory_limit: Decimal
    storage: Decimal
    claims: int


def quota(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with the namespace's quota and defaults."""
    app, wanted = application.metadata.name, application.spec.quota
    labels = site.labels(app, "quota", app)
    need = needs(site, application, items)
    _check(site, application, need)
    hard = {
        "pods": str(wanted.pods or math.ceil(need.pods * ROOM)),
        "requests.cpu": _given(wanted.cpu) or f"{math.ceil(need.cpu * ROOM * 1000)}m",
        "requests.memory": _given(wanted.memory) or _mebibytes(need.memory),
        "limits.memory": _mebibytes(max(need.memory_limit, wanted.memory.amount if wanted.memory else Decimal(0))),
        "requests.storage": f"{math.ceil(need.storage / 2**30)}Gi",
        "persistentvolumeclaims": str(need.claims),
    }
    limits = {"type": "Container", "default": {"memory": _limit(items)}, "defaultRequest": DEFAULT_REQUEST}
    return [
        *items,
        object_of("v1", "ResourceQuota", app, application.namespace, labels, spec={"hard": hard}),
        object_of("v1", "LimitRange", app, application.namespace, labels, spec={"limits": [limits]}),
    ]


def _check(site: Site, application: Application, need: Need) -> None:
    """Raise ProblemsError for a stated quota that would refuse what the application runs at its maximum."""
    wanted = application.spec.quota
    rows: tuple[tuple[str, Decimal | int | None, Decimal | int, str], ...] = (
        ("cpu", wanted.cpu.amount if wanted.cpu else None, need.cpu, f"{math.ceil(need.cpu * 1000)}m"),
        ("memory", wanted.memory.amount if wanted.memory else None, need.memory, f"{math.ceil(need.memory / 2**20)}Mi"),
        ("pods", wanted.pods, need.pods, str(need.pods)),
    )
    problems = [
        Problem(
            code="quota-below-need",
            where=f"application {application.metadata.name}, spec.quota.{key}",
            what=f"quota.{key} is {getattr(wanted, key)}, and up to {text} may be requested on {site.cluster.name}",
            why="that is the service at its maximum in a rollout, with its sidecars, and the database",
            fix=f"set it to {text} or more, or leave it out",
        )
        for key, limit, amount, text in rows
        if limit is not None and limit < amount
    ]
    if problems:
        raise ProblemsError(problems)


def needs(site: Site, application: Application, items: list[KubeObject]) -> Need:
    """Return what the application's workloads ask for when all of them are at their maximum."""
    pods, claims = 0, 0
    cpu = memory = limit = storage = Decimal(0)
    fallback = _limit(items)
    proxied = site.fleet.mesh.kind is MeshKind.ISTIO
    for item in items:
        if not _is_workload(item):
            continue
        count, containers = _pods(application, item), _containers(item)
        pods += count
        cpu += count * sum(_requested(each, "cpu") for each in containers)
        memory += count * sum(_requested(each, "memory") for each in containers)
        limit += count * sum(_limited(each, fallback) for each in containers)
        if proxied:
            cpu += count * _amount(PROXY_REQUEST["cpu"])
            memory += count * _amount(PROXY_REQUEST["memory"])
            limit += count * _amount(PROXY_LIMIT["memory"])
        for size in _claims(item):
            claims += count
            storage += count * size
    mesh = site.fleet.mesh
    if mesh.kind is MeshKind.GATEWAY_API and mesh.gateway_namespace is None:
        # The gateway that Istio makes in this namespace, and the one that replaces it.
        pods += GATEWAY_PODS
        cpu += GATEWAY_PODS * _amount(PROXY_REQUEST["cpu"])
        memory += GATEWAY_PODS * _amount(PROXY_REQUEST["memory"])
        limit += GATEWAY_PODS * _amount(PROXY_LIMIT["memory"])
    return Need(pods=pods, cpu=cpu, memory=memory, memory_limit=limit, storage=storage, claims=claims)


def _is_workload(item: KubeObject) -> bool:
    return item["kind"] in ("Deployment", "Job", "StatefulSet") or _is_operated(item)


def _is_operated(item: KubeObject) -> bool:
    """Return whether an operator makes pods of an object: CloudNativePG."""
    return bool(item["kind"] == "Cluster")


def _containers(item: KubeObject) -> list[dict[str, Any]]:
    if _is_operated(item):
        return [{"resources": item["spec"]["resources"]}]
    containers: list[dict[str, Any]] = item["spec"]["template"]["spec"]["containers"]
    return containers


def _pods(application: Application, item: KubeObject) -> int:
    if _is_operated(item):
        # A member joins by a job of its own.
        return int(item["spec"]["instances"]) + 1
    if item["kind"] == "Job":
        return 1
    if item["kind"] == "StatefulSet":
        return int(item["spec"]["replicas"])
    if item["metadata"]["name"] != application.metadata.name:
        return int(item["spec"].get("replicas", 1)) + 1
    return rollout_pods_max(application)


def _claims(item: KubeObject) -> Iterator[Decimal]:
    if _is_operated(item):
        yield _amount(item["spec"]["storage"]["size"])
    for claim in item["spec"].get("volumeClaimTemplates", ()):
        yield _amount(claim["spec"]["resources"]["requests"]["storage"])


def _requested(container: dict[str, Any], name: str) -> Decimal:
    resources = container.get("resources", {})
    # A limit without a request is the request, too.
    text = resources.get("requests", {}).get(name) or resources.get("limits", {}).get(name) or DEFAULT_REQUEST[name]
    return _amount(text)


def _limited(container: dict[str, Any], fallback: str) -> Decimal:
    return _amount(container.get("resources", {}).get("limits", {}).get("memory") or fallback)


def _limit(items: list[KubeObject]) -> str:
    """Return the default limit of memory: a container without one may have what any of them requests."""
    requests: list[str] = [
        container.get("resources", {}).get("requests", {}).get("memory", DEFAULT_LIMIT)
        for item in items
        if _is_workload(item)
        for container in _containers(item)
    ]
    return max([DEFAULT_LIMIT, *requests], key=_amount)


def _amount(text: str) -> Decimal:
    return parse_quantity(text).amount


def _given(quantity: Quantity | None) -> str | None:
    return None if quantity is None else str(quantity)


def _mebibytes(amount: Decimal) -> str:
    return f"{math.ceil(amount * ROOM / 2**20)}Mi"
