"""What may come into Leeward's own namespace of a cluster."""

from leeward.compile.kube.objects import KubeObject, selector_of
from leeward.compile.region.exported import honoured
from leeward.compile.region.gateway_ports import gateway_ports
from leeward.compile.site import Site
from leeward.compile.target import (
    AGENT_PORT,
    DNS_PORT,
    GATEWAY_METRICS_PORT,
    PEERS_PORT,
    QUORUM_CLIENT_PORT,
    QUORUM_PEER_PORT,
    SERVICES_PORT,
    SYSTEM_NAMESPACE,
    USERS_PORT,
)
from leeward.compile.traffic.policies import Peer, Rule, namespace, policy, sibling_pods
from leeward.spec.application import Application


def system_policies(site: Site) -> list[KubeObject]:
    """Return what may come into Leeward's own namespace. Its ways out lead to other regions: they are not limited."""
    if not site.home:
        return []
    labels = site.labels("leeward", "network", "leeward")
    own: list[Peer] = [{"podSelector": {}}]
    monitoring = site.fleet.monitoring
    public: list[Rule] = [(None, [USERS_PORT, PEERS_PORT, AGENT_PORT])]
    if monitoring is not None:
        public.append(([namespace(monitoring.namespace)], [GATEWAY_METRICS_PORT]))
    if honoured(site.spec, site.target):
        askers = sorted({each.namespace for each in site.spec.applications})
        public.append(([namespace(each) for each in askers], [SERVICES_PORT]))
    leeward = policy(
        "leeward",
        SYSTEM_NAMESPACE,
        labels,
        selector_of("leeward", "agent"),
        ingress=[*public, *(rule for each in site.spec.applications for rule in _own_ports(site, each, own))],
        egress=None,
    )
    if site.target.answers_dns:
        ports = [{"protocol": protocol, "port": DNS_PORT} for protocol in ("UDP", "TCP")]
        leeward["spec"]["ingress"].append({"ports": ports})
    return [
        policy("default-deny", SYSTEM_NAMESPACE, labels, {}, ingress=[], egress=None),
        leeward,
        policy(
            "etcd",
            SYSTEM_NAMESPACE,
            labels,
            selector_of("etcd", "quorum"),
            ingress=[(own, [QUORUM_CLIENT_PORT]), (None, [QUORUM_PEER_PORT])],
            egress=None,
        ),
    ]


def _own_ports(site: Site, application: Application, own: list[Peer]) -> list[Rule]:
    """Return the way to the gateway's ports for an application's database: for its own namespace's pods only."""
    ports = gateway_ports(site.spec, application)
    if ports is None:
        return []
    ways: list[Rule] = [([namespace(application.namespace), *own], [ports.primary, *ports.egress.values()])]
    siblings = sibling_pods(site)
    return [*ways, (siblings, [ports.primary])] if siblings else ways
