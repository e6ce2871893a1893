"""Istio: where an application's requests go, what protects its pods, and who may speak to them.

Always true: between pods everything is mutual TLS. The service's own port also takes Leeward's gateway, which
terminates users' TLS itself and is not part of the mesh; the network policy restricts who reaches it.
"""

from leeward.compile.kube.objects import KubeObject, object_of, selector_of
from leeward.compile.site import Site, find, pods_of
from leeward.compile.target import INSTANCE_PORT, POSTGRES_PORT
from leeward.compile.traffic.canaries import STABLE, VERSION, is_static
from leeward.compile.traffic.mesh_traffic import INGRESS, host_of, match_of, retries_of, traffic_policy
from leeward.spec.application import Application, Engine
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
    envoy = application.spec.sidecars.envoy
    port = envoy.port if envoy else application.spec.service.port
    policies = [
        object_of(SECURITY, "PeerAuthentication", "default", namespace, labels, spec={"mtls": {"mode": "STRICT"}}),
        _ports(app, namespace, labels, pods_of(application), {port: "PERMISSIVE"}),
    ]
    if application.spec.database.engine is Engine.POSTGRES and site.home:
        # PostgreSQL and the instance manager have TLS of their own.
        ports = {POSTGRES_PORT: "DISABLE", INSTANCE_PORT: "DISABLE"}
        name = f"{app}-postgres"
        policies.append(_ports(name, namespace, labels, selector_of(name, "database"), ports))
    return policies


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
