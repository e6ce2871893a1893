"""Istio: where an application's requests go, what protects its pods, and who may speak to them.

Always true: between pods everything is mutual TLS. The service's own port also takes Leeward's gateway, which is not
part of the mesh and calls it in plain HTTP; the network policy restricts who reaches it.
"""

from leeward.compile.app.cloudnative_pg import CLUSTER_LABEL, METRICS_PORT, STATUS_PORT
from leeward.compile.app.cockroachdb import PORTS as COCKROACHDB_PORTS
from leeward.compile.kube.objects import KubeObject, object_of, selector_of
from leeward.compile.site import Site, find, pods_of
from leeward.compile.target import INSTANCE_PORT, POSTGRES_PORT
from leeward.compile.traffic.canaries import STABLE, VERSION, is_static
from leeward.compile.traffic.mesh_traffic import INGRESS, host_of, match_of, retries_of, traffic_policy
from leeward.compile.traffic.network_policy import metrics_ports, service_ports
from leeward.spec.application import Application, Engine, Operator
from leeward.spec.platform import MeshKind

NETWORKING, SECURITY = "networking.istio.io/v1", "security.istio.io/v1"


def istio(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with the mesh's for the application."""
    app = application.metadata.name
    if site.fleet.mesh.kind is not MeshKind.ISTIO or find(items, "Deployment", app) is None:
        return items
    result = [_injected(item) if item["kind"] == "Namespace" else item for item in items]
    canary = application.spec.rollout.canary
    if canary is None or canary.by == "leeward":
        # Otherwise Flagger writes both, from its Canary.
        result += [_virtual_service(site, application), _destination_rule(site, application)]
    else:
        result.append(_connections(site, application))
    return [*result, *_authentication(site, application)]


def _virtual_service(site: Site, application: Application) -> KubeObject:
    app, host = application.metadata.name, host_of(application)
    port = {"number": application.spec.service.port}
    canary = application.spec.rollout.canary
    if canary is not None and is_static(application):
        route = [
            {"destination": {"host": host, "port": port, "subset": STABLE}, "weight": 100 - canary.weight},
            {"destination": {"host": host, "port": port, "subset": "canary"}, "weight": canary.weight},
        ]
    else:
        route = [{"destination": {"host": host, "port": port, "subset": STABLE}, "weight": 100}]
    return object_of(
        NETWORKING,
        "VirtualService",
        app,
        application.namespace,
        site.labels(app, "traffic", app),
        spec={
            "hosts": [site.host(application), host],
            "gateways": [INGRESS, "mesh"],
            "http": [{"match": match_of(application), "route": route, "retries": retries_of(application)}],
        },
    )


def _destination_rule(site: Site, application: Application) -> KubeObject:
    app = application.metadata.name
    subsets = [{"name": STABLE, "labels": {VERSION: STABLE}}]
    if is_static(application):
        subsets.append({"name": "canary", "labels": {VERSION: "canary"}})
    return object_of(
        NETWORKING,
        "DestinationRule",
        app,
        application.namespace,
        site.labels(app, "traffic", app),
        spec={
            "host": host_of(application),
            "trafficPolicy": traffic_policy(site, application),
            "subsets": subsets,
        },
    )


def _connections(site: Site, application: Application) -> KubeObject:
    """Return the limit of TCP connections at the pods' own side: Flagger's Canary has no word for it."""
    app = application.metadata.name
    pool = {"tcp": {"maxConnections": application.spec.traffic.breaker.connections}}
    return object_of(
        NETWORKING,
        "Sidecar",
        app,
        application.namespace,
        site.labels(app, "traffic", app),
        spec={"workloadSelector": {"labels": pods_of(application)}, "inboundConnectionPool": pool},
    )


def _authentication(site: Site, application: Application) -> list[KubeObject]:
    app, namespace = application.metadata.name, application.namespace
    labels = site.labels(app, "traffic", app)
    # Prometheus is not part of the mesh.
    open_ports = {*service_ports(application), *(metrics_ports(application) if site.fleet.monitoring else ())}
    policies = [
        object_of(SECURITY, "PeerAuthentication", "default", namespace, labels, spec={"mtls": {"mode": "STRICT"}}),
        _ports(app, namespace, labels, pods_of(application), dict.fromkeys(sorted(open_ports), "PERMISSIVE")),
    ]
    if site.home:
        name, pods, ports = _database(application)
        policies.append(_ports(name, namespace, labels, pods, dict.fromkeys(ports, "DISABLE")))
    return policies


def _database(application: Application) -> tuple[str, dict[str, str], tuple[int, ...]]:
    """Return the database's name, its pods' labels, and the ports that have TLS of their own.

    Who calls them is outside this cluster's mesh: gateways, operators, members in other regions, Prometheus.
    """
    app, database = application.metadata.name, application.spec.database
    if database.engine is Engine.COCKROACHDB:
        name = f"{app}-cockroachdb"
        return name, selector_of(name, "database"), tuple(COCKROACHDB_PORTS.values())
    name = f"{app}-postgres"
    if database.operator is Operator.CLOUDNATIVE_PG:
        return name, {CLUSTER_LABEL: name}, (POSTGRES_PORT, STATUS_PORT, METRICS_PORT)
    return name, selector_of(name, "database"), (POSTGRES_PORT, INSTANCE_PORT)


def _ports(
    name: str, namespace: str, labels: dict[str, str], pods: dict[str, str], modes: dict[int, str]
) -> KubeObject:
    spec = {
        "selector": {"matchLabels": pods},
        "mtls": {"mode": "STRICT"},
        "portLevelMtls": {str(port): {"mode": mode} for port, mode in modes.items()},
    }
    return object_of(SECURITY, "PeerAuthentication", name, namespace, labels, spec=spec)


def _injected(namespace: KubeObject) -> KubeObject:
    metadata = namespace["metadata"]
    # Pods stay restricted: Istio's CNI plugin sets up their network, no privileged init container.
    return {**namespace, "metadata": {**metadata, "labels": {**metadata["labels"], "istio-injection": "enabled"}}}
