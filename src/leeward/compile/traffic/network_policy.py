"""Which pods may call which inside a cluster: what is declared, and nothing else.

Tiers are groups of pods. ``service`` and ``database`` are always there; the gateways and agents of Leeward,
monitoring and DNS are what they need; more tiers are declared in the application's file.
"""

from collections.abc import Sequence

from leeward.compile.app.cloudnative_pg import CLUSTER_LABEL, METRICS_PORT, STATUS_PORT
from leeward.compile.app.service import COCKROACH_PORT
from leeward.compile.app.sidecars import ENVOY_METRICS_PORT
from leeward.compile.kube.objects import KubeObject, selector_of
from leeward.compile.region.exported import honoured
from leeward.compile.region.gateway_ports import EGRESS_PORTS, PRIMARY_PORTS, has_gateway_ports
from leeward.compile.region.identity import DATABASE_INIT, starts_cockroach
from leeward.compile.site import Site, pods_of
from leeward.compile.target import (
    INSTANCE_PORT,
    POSTGRES_PORT,
    SERVICES_PORT,
    SYSTEM_NAMESPACE,
)
from leeward.compile.traffic.policies import Peer, Port, Rule, namespace, policy, sibling_pods, tcp
from leeward.spec.application import Application, Operator
from leeward.spec.fleet import Provider
from leeward.spec.platform import MeshKind
from leeward.spec.workload import Exposure

ISTIOD_PORT = 15012
OTLP_PORT = 4317
INGRESS_NAMESPACE, EASTWEST_NAMESPACE = "istio-ingress", "istio-eastwest"
PROXY_METRICS_PORTS = (15020, 15090)
"""Where Istio's proxy shows metrics: with the service's own ones, and its own alone."""
GATEWAY_TLS_PORT = 443
OBSERVABILITY_NAMESPACE = "observability"
CLOUDNATIVE_PG_NAMESPACE = "cnpg-system"
GOOGLE_FRONT_ENDS = ("35.191.0.0/16", "130.211.0.0/22")
"""Where Google's global load balancers and their health checks come from, straight to the pods."""
API_SERVER_PORTS = (443, 6443)


def network_policy(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with the namespace's policies."""
    policies = [_deny(site, application), _names(site, application), _service(site, application)]
    if any(item["kind"] in ("StatefulSet", "Cluster") for item in items):
        policies.append(_database(site, application))
    if any(item["kind"] == "Job" for item in items):
        policies.append(_database_init(site, application))
    policies += [*_gateway(site, application), *_tiers(site, application)]
    return [*items, *policies]


def _deny(site: Site, application: Application) -> KubeObject:
    return policy("default-deny", application.namespace, _labels(site, application), {}, ingress=[], egress=[])


def _names(site: Site, application: Application) -> KubeObject:
    dns = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    dns_policy = policy("dns", application.namespace, _labels(site, application), {}, ingress=None, egress=[])
    ports = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    egress = [{"to": [dns], "ports": ports}]
    if site.fleet.mesh.kind is MeshKind.ISTIO:
        istiod = {**namespace("istio-system"), "podSelector": {"matchLabels": {"app": "istiod"}}}
        egress.append({"to": [istiod], "ports": [tcp(ISTIOD_PORT)]})
    dns_policy["spec"]["egress"] = egress
    return dns_policy


def service_ports(application: Application) -> list[int]:
    """Return where the service's pods take requests: with Envoy beside the service, at Envoy only."""
    envoy = application.spec.sidecars.envoy
    return [envoy.port if envoy else application.spec.service.port]


def metrics_ports(application: Application) -> list[int]:
    """Return where the service's pods show metrics."""
    service, sidecars = application.spec.service, application.spec.sidecars
    ports = [service.metrics.port or service.port] if service.metrics else []
    ports += [sidecars.metrics.port] if sidecars.metrics else []
    return [*ports, *([ENVOY_METRICS_PORT] if sidecars.envoy else [])]


def _service(site: Site, application: Application) -> KubeObject:
    wanted, ports = application.spec, service_ports(application)
    ingress: list[Rule] = [([_leeward()], ports)]
    callers = [_tier(application, name) for name in wanted.network.callers if name not in ("internet", "monitoring")]
    if callers:
        ingress.append((callers, ports))
    if site.fleet.entry is not None and site.region.provider is Provider.GCP:
        ingress.append(([{"ipBlock": {"cidr": each}} for each in GOOGLE_FRONT_ENDS], ports))
    ingress += [(gateways, ports) for gateways in _mesh_gateways(site, application)]
    if wanted.service.expose is Exposure.LOAD_BALANCER or "internet" in wanted.network.callers:
        ingress.append((None, ports))
    monitored = {*metrics_ports(application), *(ports if "monitoring" in wanted.network.callers else ())}
    if site.fleet.mesh.kind is MeshKind.ISTIO:
        monitored |= set(PROXY_METRICS_PORTS)
    ingress += _monitored(site, sorted(monitored))
    egress: list[Rule] = [*_database_ways(site, application)]
    egress += _calls(application, "service")
    egress += [([{"ipBlock": {"cidr": each.cidr}}], list(each.ports)) for each in wanted.network.outside]
    # An imported service's pods are in the other clusters, and may also be in this one.
    far = [{"ipBlock": {"cidr": each.pod_cidr}} for _, each in site.others() if each.pod_cidr]
    egress += [([{"podSelector": {}}, *far], [each.port]) for each in wanted.network.imports]
    if wanted.network.imports and site.home and honoured(site.spec, site.target):
        egress.append(([_leeward()], [SERVICES_PORT]))
    if site.fleet.tracing is not None:
        egress.append(([namespace(OBSERVABILITY_NAMESPACE)], [OTLP_PORT]))
    if wanted.sidecars.logging is not None:
        logging = site.fleet.logging
        egress.append(([namespace("logging")], [logging.loki_port if logging else 80]))
    return policy(
        "service",
        application.namespace,
        _labels(site, application),
        pods_of(application),
        ingress=ingress,
        egress=egress,
    )


def _mesh_gateways(site: Site, application: Application) -> list[list[Peer]]:
    """Return the gateways of the mesh that lead requests to the service."""
    match site.fleet.mesh.kind:
        case MeshKind.ISTIO:
            # From other clusters by the gateway between them: there, pods fail over to these.
            return [[namespace(INGRESS_NAMESPACE), namespace(EASTWEST_NAMESPACE)]]
        case MeshKind.GATEWAY_API:
            elsewhere = site.fleet.mesh.gateway_namespace
            own = {"podSelector": {"matchLabels": gateway_pods(application)}}
            return [[own if elsewhere is None else namespace(elsewhere)]]
        case MeshKind.NONE:
            return []


def gateway_pods(application: Application) -> dict[str, str]:
    """Return the labels of the pods that Istio makes for the application's Gateway, in the application's namespace."""
    return {"gateway.networking.k8s.io/gateway-name": application.metadata.name}


def _gateway(site: Site, application: Application) -> list[KubeObject]:
    """Return what the pods of the application's own Gateway may do: take users, ask istiod, call the service."""
    mesh = site.fleet.mesh
    if mesh.kind is not MeshKind.GATEWAY_API or mesh.gateway_namespace is not None:
        return []
    istiod = {**namespace("istio-system"), "podSelector": {"matchLabels": {"app": "istiod"}}}
    # The pods of an exported service are in the other clusters, too.
    far = [{"ipBlock": {"cidr": each.pod_cidr}} for _, each in site.others() if each.pod_cidr]
    pods = [_tier(application, "service"), *(far if site.fleet.network.exports else [])]
    return [
        policy(
            "gateway",
            application.namespace,
            _labels(site, application),
            gateway_pods(application),
            ingress=[(None, [GATEWAY_TLS_PORT]), *_monitored(site, PROXY_METRICS_PORTS)],
            egress=[([istiod], [ISTIOD_PORT]), (pods, service_ports(application))],
        )
    ]


def _database_ways(site: Site, application: Application) -> list[Rule]:
    """Return the ways from the service to its databases: the local one, and the primary through the gateway."""
    if not site.home:
        home = site.spec.clusters(site.region.name)[0]
        blocks = [{"ipBlock": {"cidr": cidr}} for cidr in (home.pod_cidr, home.service_cidr) if cidr]
        ports: list[Port] = [PRIMARY_PORTS] if has_gateway_ports(application) else [COCKROACH_PORT]
        return [(blocks, ports)] if blocks else []
    if not has_gateway_ports(application):
        return [([_tier(application, "database")], [COCKROACH_PORT])]
    # Which port of the gateway's pod is the application's may change with its neighbours; the pod lets in only its own.
    return [([_tier(application, "database")], [POSTGRES_PORT]), ([_leeward()], [PRIMARY_PORTS])]


def _database(site: Site, application: Application) -> KubeObject:
    labels, app = _labels(site, application), application.metadata.name
    service = _tier(application, "service")
    if application.spec.database.engine == "cockroachdb":
        members = _cockroach_members(site, application)
        callers = [service]
        if starts_cockroach(site.spec, application, site.region.name):
            callers.append({"podSelector": {"matchLabels": _init_pods(application)}})
        ingress: list[Rule] = [(callers, [COCKROACH_PORT]), *members]
        return policy(
            "database",
            application.namespace,
            labels,
            selector_of(f"{app}-cockroachdb", "database"),
            ingress=[*ingress, *_monitored(site, [8080])],
            egress=members,
        )
    if application.spec.database.operator is Operator.CLOUDNATIVE_PG:
        own, operator = _tier(application, "database"), namespace(CLOUDNATIVE_PG_NAMESPACE)
        return policy(
            "database",
            application.namespace,
            labels,
            own["podSelector"]["matchLabels"],
            ingress=[
                ([service, _leeward(), own, *sibling_pods(site)], [POSTGRES_PORT]),
                ([operator], [POSTGRES_PORT, STATUS_PORT]),
                *_monitored(site, [METRICS_PORT]),
            ],
            # Members ask the API server who leads; where that is differs from cloud to cloud.
            egress=[([_leeward()], [EGRESS_PORTS]), ([own], [POSTGRES_PORT]), (None, API_SERVER_PORTS)],
        )
    return policy(
        "database",
        application.namespace,
        labels,
        selector_of(f"{app}-postgres", "database"),
        ingress=[
            ([service, *sibling_pods(site)], [POSTGRES_PORT]),
            ([_leeward()], [POSTGRES_PORT, INSTANCE_PORT]),
        ],
        egress=[([_leeward()], [EGRESS_PORTS])],
    )


def _database_init(site: Site, application: Application) -> KubeObject:
    """Return what the job may do that starts CockroachDB: ask the members, in every region."""
    return policy(
        DATABASE_INIT,
        application.namespace,
        _labels(site, application),
        _init_pods(application),
        ingress=[],
        egress=_cockroach_members(site, application),
    )


def _cockroach_members(site: Site, application: Application) -> list[Rule]:
    blocks = [{"ipBlock": {"cidr": each.pod_cidr}} for _, each in site.others() if each.pod_cidr]
    return [([_tier(application, "database"), *blocks], [COCKROACH_PORT])]


def _init_pods(application: Application) -> dict[str, str]:
    return selector_of(f"{application.metadata.name}-cockroachdb-init", DATABASE_INIT)


def _tiers(site: Site, application: Application) -> list[KubeObject]:
    result, network = [], application.spec.network
    for tier in network.tiers:
        ingress: list[Rule] = []
        if tier.port is not None:
            allowed = [_tier(application, name) for name in tier.allows if name not in ("internet", "monitoring")]
            ingress += [(allowed, [tier.port])] if allowed else []
            ingress += [(None, [tier.port])] if "internet" in tier.allows else []
            ingress += _monitored(site, [tier.port]) if "monitoring" in tier.allows else []
        egress: list[Rule] = []
        if tier.name in network.callers:
            egress.append(([_tier(application, "service")], service_ports(application)))
        egress += _calls(application, tier.name)
        result.append(
            policy(
                f"tier-{tier.name}",
                application.namespace,
                _labels(site, application),
                tier.pods,
                ingress=ingress,
                egress=egress,
            )
        )
    return result


def _calls(application: Application, caller: str) -> list[Rule]:
    """Return the ways from a tier to the declared tiers that allow it."""
    tiers = application.spec.network.tiers
    return [
        ([_tier(application, each.name)], [each.port])
        for each in tiers
        if caller in each.allows and each.port is not None
    ]


def _tier(application: Application, name: str) -> Peer:
    app = application.metadata.name
    if name == "gateway":
        return _leeward()
    if name == "service":
        return {"podSelector": {"matchLabels": pods_of(application)}}
    if name == "database":
        engine = application.spec.database.engine
        suffix = "postgres" if engine == "postgres" else "cockroachdb"
        if application.spec.database.operator is Operator.CLOUDNATIVE_PG:
            # The operator labels its pods itself.
            return {"podSelector": {"matchLabels": {CLUSTER_LABEL: f"{app}-{suffix}"}}}
        return {"podSelector": {"matchLabels": selector_of(f"{app}-{suffix}", "database")}}
    (tier,) = (each for each in application.spec.network.tiers if each.name == name)
    return {"podSelector": {"matchLabels": dict(tier.pods)}}


def _leeward() -> Peer:
    return {**namespace(SYSTEM_NAMESPACE), "podSelector": {"matchLabels": selector_of("leeward", "agent")}}


def _monitored(site: Site, ports: Sequence[Port]) -> list[Rule]:
    monitoring = site.fleet.monitoring
    return [([namespace(monitoring.namespace)], ports)] if monitoring is not None and ports else []


def _labels(site: Site, application: Application) -> dict[str, str]:
    return site.labels(application.metadata.name, "network", application.metadata.name)
