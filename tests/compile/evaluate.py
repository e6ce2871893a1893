"""What compiled objects *do*, worked out: who may connect, what a quota admits, how long a canary takes.

These are small readers of the objects' semantics as Kubernetes and Flagger document them, written without a look at how
the compiler makes the objects.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from typing import Any

from leeward.compile import KubeObject
from leeward.spec.values import parse_quantity


@dataclass(frozen=True, slots=True)
class End:
    """A pod or an address that connects or is connected to."""

    name: str
    namespace: str | None = None
    labels: Mapping[str, str] | None = None
    address: str = "192.0.2.1"


def kind(items: Iterable[KubeObject], wanted: str) -> list[KubeObject]:
    return [item for item in items if item["kind"] == wanted]


def only(items: Iterable[KubeObject], wanted: str, name: str) -> KubeObject:
    (found,) = (item for item in kind(items, wanted) if item["metadata"]["name"] == name)
    return found


def allowed(policies: list[KubeObject], source: End, target: End, port: int, protocol: str = "TCP") -> bool:
    """Return whether a connection gets through: out of its source and into its target."""
    return _passes(policies, "Egress", source, target, port, protocol) and _passes(
        policies, "Ingress", target, source, port, protocol
    )


def _passes(policies: list[KubeObject], way: str, own: End, other: End, port: int, protocol: str) -> bool:
    if own.namespace is None:
        return True
    selecting = [
        policy["spec"]
        for policy in policies
        if policy["metadata"]["namespace"] == own.namespace
        and way in policy["spec"]["policyTypes"]
        and _selects(policy["spec"]["podSelector"], own.labels or {})
    ]
    if not selecting:
        return True
    key = "from" if way == "Ingress" else "to"
    return any(
        _port(rule, port, protocol) and _peer(rule.get(key), other, own.namespace)
        for spec in selecting
        for rule in spec.get(way.lower(), ())
    )


def _port(rule: dict[str, Any], port: int, protocol: str) -> bool:
    ports = rule.get("ports")
    return not ports or any(
        each["port"] <= port <= each.get("endPort", each["port"]) and each.get("protocol", "TCP") == protocol
        for each in ports
    )


def _peer(peers: list[dict[str, Any]] | None, other: End, namespace: str) -> bool:
    return not peers or any(_is_peer(peer, other, namespace) for peer in peers)


def _is_peer(peer: dict[str, Any], other: End, namespace: str) -> bool:
    if "ipBlock" in peer:
        return ip_address(other.address) in ip_network(peer["ipBlock"]["cidr"])
    if other.namespace is None:
        return False
    if "namespaceSelector" in peer:
        if not _selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace}):
            return False
    elif other.namespace != namespace:
        return False
    return "podSelector" not in peer or _selects(peer["podSelector"], other.labels or {})


def _selects(selector: dict[str, Any], labels: Mapping[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


PROXY = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
"""What Istio injects beside every container."""


def refused_by_quota(items: list[KubeObject], *, meshed: bool, versions: int) -> list[str]:
    """Return what the namespace's quota refuses when every workload is at its maximum, and one over in a rollout."""
    (quota,) = kind(items, "ResourceQuota")
    (limits,) = kind(items, "LimitRange")
    (defaults,) = limits["spec"]["limits"]
    used = dict.fromkeys(quota["spec"]["hard"], Decimal(0))
    scaled = {item["spec"]["scaleTargetRef"]["name"]: item["spec"] for item in kind(items, "HorizontalPodAutoscaler")}
    for item in [*kind(items, "Deployment"), *kind(items, "Job"), *kind(items, "StatefulSet")]:
        name, spec = item["metadata"]["name"], item["spec"]
        most = scaled[name]["maxReplicas"] if name in scaled else spec.get("replicas", 1)
        if item["kind"] == "Deployment":
            surge = spec["strategy"]["rollingUpdate"]["maxSurge"]
            most = (most + surge) * (versions if name in scaled else 1)
        containers = [each.get("resources") or {} for each in spec["template"]["spec"]["containers"]]
        for resources in [*containers, *([PROXY] if meshed else [])]:
            for key in ("requests.cpu", "requests.memory", "limits.memory"):
                section, _, amount = key.partition(".")
                fallback = defaults["defaultRequest" if section == "requests" else "default"]
                text = resources.get(section, {}).get(amount) or fallback[amount]
                used[key] += most * parse_quantity(text).amount
        used["pods"] += most
        for claim in spec.get("volumeClaimTemplates", ()):
            used["persistentvolumeclaims"] += most
            used["requests.storage"] += most * parse_quantity(claim["spec"]["resources"]["requests"]["storage"]).amount
    # An operator's members, and the job by which one joins.
    for item in kind(items, "Cluster"):
        spec = item["spec"]
        for key in ("requests.cpu", "requests.memory", "limits.memory"):
            section, _, amount = key.partition(".")
            each = parse_quantity(spec["resources"][section][amount]).amount
            used[key] += (spec["instances"] + 1) * (
                each + (parse_quantity(PROXY[section][amount]).amount if meshed else 0)
            )
        used["pods"] += spec["instances"] + 1
        used["persistentvolumeclaims"] += spec["instances"]
        used["requests.storage"] += spec["instances"] * parse_quantity(spec["storage"]["size"]).amount
    hard = {key: parse_quantity(text).amount for key, text in quota["spec"]["hard"].items()}
    return [f"{key}: {used[key]} of {hard[key]}" for key in hard if used[key] > hard[key]]


def unanswered(items: list[KubeObject]) -> list[str]:
    """Return what pods name and nobody makes: secrets, settings, accounts. A reference to a store makes its secret."""
    there = {(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in items}
    there |= {("Secret", namespace, name) for made, namespace, name in there if made == "ExternalSecret"}
    named = [
        (wanted, item["metadata"]["namespace"], name)
        for item in items
        for wanted, name in (*_in_pods(item), *_in_operated(item))
    ]
    return sorted({f"{wanted} {namespace}/{name}" for wanted, namespace, name in set(named) - there})


def _in_pods(item: KubeObject) -> Iterator[tuple[str, str]]:
    if item["kind"] not in ("DaemonSet", "Deployment", "Job", "StatefulSet"):
        return
    pod = item["spec"]["template"]["spec"]
    yield "ServiceAccount", pod["serviceAccountName"]
    for volume in pod.get("volumes", ()):
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
    for container in pod["containers"]:
        for source in container.get("envFrom", ()):
            yield "ConfigMap", source["configMapRef"]["name"]
        for variable in container.get("env", ()):
            if "secretKeyRef" in variable.get("valueFrom", ()):
                yield "Secret", variable["valueFrom"]["secretKeyRef"]["name"]


def _in_operated(item: KubeObject) -> Iterator[tuple[str, str]]:
    if item["kind"] != "Cluster" or "bootstrap" not in item["spec"]:
        return
    spec = item["spec"]
    yield from (("Secret", name) for name in spec["certificates"].values())
    yield from (("Secret", each["secret"]["name"]) for each in spec["bootstrap"].values() if "secret" in each)
    for other in spec["externalClusters"]:
        yield from (("Secret", other[key]["name"]) for key in ("sslKey", "sslCert", "sslRootCert"))


def drains(items: list[KubeObject], name: str, pods: int) -> bool:
    """Return whether every node can be emptied, one eviction after the other, while ``pods`` pods should run."""
    deployment = only(items, "Deployment", name)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    budgets = [
        each["spec"]
        for each in kind(items, "PodDisruptionBudget")
        if _selects(each["spec"]["selector"], labels)
        and each["metadata"]["namespace"] == deployment["metadata"]["namespace"]
    ]
    # Two budgets over the same pod: the API server refuses every eviction.
    assert len(budgets) == 1
    (budget,) = budgets
    if "maxUnavailable" in budget:
        return int(budget["maxUnavailable"]) >= 1
    return pods - int(budget["minAvailable"]) >= 1


def permitted(project: KubeObject, cluster: str, namespace: str) -> bool:
    """Return whether Argo CD lets a project's applications into a cluster: by its server or its name, either will do.

    As ``isDestinationMatched`` of its 3.5.7; and as ``ValidateProject``, which refuses two destinations of one key.
    """
    rows = project["spec"]["destinations"]
    keys = [(row.get("server") or row.get("name"), row["namespace"]) for row in rows]
    assert len(keys) == len(set(keys))
    server = f"https://{cluster}.example.com"
    return any(
        (fnmatchcase(server, row.get("server", "")) or fnmatchcase(cluster, row.get("name", "")))
        and fnmatchcase(namespace, row["namespace"])
        for row in rows
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a canary."""

    promoted: bool
    weights: tuple[int, ...]
    """The canary's percentages, in order."""
    seconds: float


def analyse(canary: KubeObject, verdicts: Iterable[bool]) -> Outcome:
    """Return what Flagger does with a Canary whose checks turn out like this: docs.flagger.app, how it works."""
    analysis = canary["spec"]["analysis"]
    interval_s = float(analysis["interval"].removesuffix("s"))
    weight, failed, rounds = 0, 0, 0
    weights: list[int] = []
    for good in verdicts:
        rounds += 1
        if not good:
            failed += 1
            if failed >= analysis["threshold"]:
                return Outcome(False, (*weights, 0), rounds * interval_s)
            continue
        if weight >= analysis["maxWeight"]:
            return Outcome(True, tuple(weights), rounds * interval_s)
        weight = min(analysis["maxWeight"], weight + analysis["stepWeight"])
        weights.append(weight)
    return Outcome(False, tuple(weights), math.inf)
