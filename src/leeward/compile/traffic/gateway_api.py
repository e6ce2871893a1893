"""The Gateway API: a gateway for the application's public name, and a route to its versions."""

from leeward.compile.kube.objects import KubeObject, object_of
from leeward.compile.site import Site, find
from leeward.compile.traffic.canaries import VERSION, canary_name, is_static
from leeward.spec.application import Application
from leeward.spec.platform import MeshKind

GROUP = "gateway.networking.k8s.io/v1"
IMPORT = {"group": "multicluster.x-k8s.io", "kind": "ServiceImport"}


def gateway_api(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with gateway and route. Flagger, where it is, writes the route itself.

    Where services are exported, the route leads to the imported one: the pods of all clusters.
    """
    app, namespace = application.metadata.name, application.namespace
    if site.fleet.mesh.kind is not MeshKind.GATEWAY_API or find(items, "Deployment", app) is None:
        return items
    labels = site.labels(app, "traffic", app)
    host, wanted = site.host(application), application.spec
    listener = {
        "name": "https",
        "hostname": host,
        "port": 443,
        "protocol": "HTTPS",
        "tls": {"mode": "Terminate", "certificateRefs": [{"name": f"{app}-tls"}]},
    }
    gateway = object_of(
        GROUP,
        "Gateway",
        app,
        namespace,
        labels,
        spec={"gatewayClassName": site.fleet.mesh.gateway_class, "listeners": [listener]},
    )
    canary = wanted.rollout.canary
    if canary is not None and canary.by == "flagger":
        return [*items, gateway]
    stable = {**(IMPORT if site.fleet.network.exports else {}), "name": app, "port": wanted.service.port}
    backends = [{**stable, "weight": 100}]
    extra: list[KubeObject] = []
    if canary is not None and is_static(application):
        extra = [_service_of_canary(site, application, items)]
        backends = [
            {**stable, "weight": 100 - canary.weight},
            {"name": canary_name(application), "port": wanted.service.port, "weight": canary.weight},
        ]
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": wanted.traffic.prefix}}], "backendRefs": backends}
    route = object_of(
        GROUP,
        "HTTPRoute",
        app,
        namespace,
        labels,
        spec={"parentRefs": [{"name": app}], "hostnames": [host], "rules": [rule]},
    )
    return [*items, *extra, gateway, route]


def _service_of_canary(site: Site, application: Application, items: list[KubeObject]) -> KubeObject:
    """Return a service for the new version alone: here weights are between services."""
    app = application.metadata.name
    service = find(items, "Service", app)
    assert service is not None
    spec = {**service["spec"], "type": "ClusterIP"}
    spec["selector"] = {**spec["selector"], VERSION: "canary"}
    labels = site.labels(app, "traffic", app)
    return object_of("v1", "Service", canary_name(application), application.namespace, labels, spec=spec)
