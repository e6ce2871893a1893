"""NetworkPolicies in short: peers, ports and rules, and the object that they make."""

from collections.abc import Sequence
from typing import Any

from leeward.compile.kube.objects import KubeObject, object_of
from leeward.compile.site import Site

Peer = dict[str, Any]
Port = int | tuple[int, int]
"""A TCP port, or the first and last of a range."""
Rule = tuple[Sequence[Peer] | None, Sequence[Port]]
"""Peers (None: any) and ports."""


def namespace(name: str) -> Peer:
    """Return every pod of a namespace."""
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def tcp(port: Port) -> dict[str, Any]:
    """Return a port, or a range of them, as a policy says it."""
    if isinstance(port, tuple):
        return {"protocol": "TCP", "port": port[0], "endPort": port[1]}
    return {"protocol": "TCP", "port": port}


def policy(
    name: str,
    namespace: str,
    labels: dict[str, str],
    pods: dict[str, str],
    *,
    ingress: Sequence[Rule] | None,
    egress: Sequence[Rule] | None,
) -> KubeObject:
    """Return a policy. None for a direction: this policy does not restrict it."""
    spec: KubeObject = {"podSelector": {"matchLabels": dict(pods)} if pods else {}, "policyTypes": []}
    for kind, key, rules in (("Ingress", "from", ingress), ("Egress", "to", egress)):
        if rules is None:
            continue
        spec["policyTypes"].append(kind)
        if rules:
            spec[kind.lower()] = [
                {**({key: list(peers)} if peers is not None else {}), "ports": [tcp(port) for port in ports]}
                for peers, ports in rules
            ]
    return object_of("networking.k8s.io/v1", "NetworkPolicy", name, namespace, labels, spec=spec)


def sibling_pods(site: Site) -> list[Peer]:
    """Return the pods of the region's other clusters: to a policy here, they are addresses."""
    return [{"ipBlock": {"cidr": each.pod_cidr}} for each in site.siblings() if each.pod_cidr]
