"""Services that several regions export, by their common name ``NAME.NAMESPACE.svc.clusterset.local``. Pure.

Two tables of their own, on a port and behind a name (SNI) of their own: users, whose requests may bear any Host, never
come near a service that is exported to the fleet's clusters only. ``services`` is what this region's pods ask: the pods
here, then the other regions that export it, nearest first. ``exports`` is what other regions ask: the pods here
only, so requests cannot travel in circles.
"""

from typing import Any

from leeward.adapters.envoy.clusters import (
    in_order,
    peer,
    pods_cluster,
    pods_of,
    services_peer,
)
from leeward.adapters.envoy.keepalive import HTTP_KEEPALIVE
from leeward.adapters.envoy.routes import (
    FIRST_WORD,
    LAST_WORD,
    READ_RETRIES,
    WRITE_RETRIES,
    forward,
    host,
    refuse,
    table,
)
from leeward.adapters.envoy.settings import GatewaySettings
from leeward.ports.gateway import Exported

SERVICES = "services"
EXPORTS = "exports"
_PODS = pods_cluster("")


def key(service: Exported) -> str:
    """Return a service's key, distinct from all others and from applications, whose names have no dot."""
    return f"{service.name}.{service.namespace}"


def exported_cluster(service: Exported) -> str:
    """Return the name of the cluster that requests for a service go to."""
    return f"exported.{key(service)}"


def is_cluster(name: str) -> bool:
    """Whether a cluster of this name is a service's, and no application's."""
    return name.startswith("exported.") or (name.startswith(_PODS) and "." in name.removeprefix(_PODS))


def is_pods_file(name: str) -> bool:
    """Whether a file of this name has the pods of a service, and no application's."""
    return name.startswith("eds.") and "." in name.removeprefix("eds.").removesuffix(".json")


def clusters(settings: GatewaySettings, services: tuple[Exported, ...]) -> list[dict[str, Any]]:
    """Return the clusters of exported services, and those of the regions that may export some."""
    result = []
    for service in services:
        result.append(pods_of(settings, key(service)))
        members = (pods_cluster(key(service)), *map(services_peer, service.fallbacks))
        result.append(in_order(exported_cluster(service), members))
    for region, address in sorted(settings.peers.items()):
        result.append(peer(settings, region, services_peer(region), address, HTTP_KEEPALIVE))
    return result


def services(settings: GatewaySettings, services: tuple[Exported, ...]) -> dict[str, Any]:
    """Return the route table of this region's pods."""
    hosts = [
        host(key(each), [each.host], _to(exported_cluster(each)) if each.pods or each.fallbacks else [_nobody(each)])
        for each in services
    ]
    because = "no region exports a service by this name: create a ServiceExport for the Service"
    return _table(settings, SERVICES, [*hosts, host("others", ["*"], [refuse("not-exported", because, status=404)])])


def exports(settings: GatewaySettings, services: tuple[Exported, ...]) -> dict[str, Any]:
    """Return the route table of what other regions ask for: this region's pods only."""
    hosts = [host(key(each), [each.host], _to(pods_cluster(key(each)))) for each in services if each.pods]
    because = f"{settings.region} exports no service by this name with a ready pod"
    return _table(settings, EXPORTS, [*hosts, host("others", ["*"], [refuse("not-exported", because)])])


def _to(cluster: str) -> list[dict[str, Any]]:
    return [forward(cluster, READ_RETRIES, read=True), forward(cluster, WRITE_RETRIES, read=False)]


def _nobody(service: Exported) -> dict[str, Any]:
    return refuse("no-ready-pod", f"no region that exports {service.host} has a ready pod; try again")


def _table(settings: GatewaySettings, name: str, hosts: list[dict[str, Any]]) -> dict[str, Any]:
    action = FIRST_WORD if name == SERVICES else LAST_WORD
    # A service has its name on every port.
    return table(name, settings.region, hosts, action=action, ignore_port_in_host_matching=True)
