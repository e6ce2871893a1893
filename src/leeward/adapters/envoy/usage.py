"""How full Envoy's clusters are, and what they refused, from its statistics. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from leeward.adapters.envoy.capacity import (
    CONNECTIONS_MAX,
    PENDING_MAX,
    REQUESTS_MAX,
    egress_listener,
    late_max,
    local_max,
    primary_listener,
    tunnels_max,
)
from leeward.adapters.envoy.clusters import (
    abroad,
    http_peer,
    late_postgres,
    local_postgres,
    pods_cluster,
    postgres_peer,
    spare_cluster,
)
from leeward.adapters.envoy.settings import GatewaySettings
from leeward.core.values import App, Region
from leeward.ports.gateway import Carried

_OVERFLOWS = ("upstream_cx_overflow", "upstream_rq_pending_overflow", "upstream_rq_active_overflow")
_HEALTHY = "membership_healthy"
_PORT = "connection_limit"
FILTER = (
    rf"^(cluster\..*({'|'.join((*_OVERFLOWS, 'upstream_(cx|rq|rq_pending)_active', _HEALTHY))})"
    rf"|{_PORT}\.(primary|egress)\..*)$"
)
"""The statistics that ``carried`` needs, as Envoy's admin filters them."""


def _http2(requests_max: int, pending_max: int = PENDING_MAX) -> Mapping[str, int]:
    return {"upstream_rq_active": requests_max, "upstream_rq_pending_active": pending_max}


def _tcp(connections_max: int) -> Mapping[str, int]:
    return {
        "upstream_cx_active": connections_max,
        "upstream_rq_pending_active": max(PENDING_MAX, connections_max),
    }


@dataclass(slots=True)
class _Cluster:
    """A cluster that an application's traffic to a region goes through."""

    region: Region
    limits: Mapping[str, int]
    stats: dict[str, int] = field(default_factory=dict)

    @property
    def used(self) -> float:
        return max((self.stats.get(name, 0) / limit for name, limit in self.limits.items()), default=0.0)


def carried(settings: GatewaySettings, stats: Iterable[Mapping[str, Any]]) -> dict[App, Carried]:
    """Return how each application's traffic is carried, as far as the statistics show."""
    values = {str(each["name"]): each["value"] for each in stats if "name" in each and "value" in each}
    return {app.name: _of(settings, app.name, values) for app in settings.apps}


def _of(settings: GatewaySettings, app: App, values: Mapping[str, Any]) -> Carried:
    broken: dict[Region, str] = {}
    overflows, used = 0, 0.0
    for name, cluster in _clusters(settings, app).items():
        prefix = f"cluster.{name}."
        cluster.stats = {kind: int(values.get(prefix + kind, 0)) for kind in (*cluster.limits, *_OVERFLOWS)}
        overflows += sum(cluster.stats[kind] for kind in _OVERFLOWS)
        used = max(used, cluster.used)
        if cluster.used >= 1:
            broken.setdefault(cluster.region, f"cluster {name} of its gateway is at its limit")
    for port, limit in _ports(settings, app).items():
        overflows += int(values.get(f"{_PORT}.{port}.limited_connections", 0))
        used = max(used, int(values.get(f"{_PORT}.{port}.active_connections", 0)) / limit)
    for region in settings.peers:
        # Its check is a request that the peer's gateway answers.
        if values.get(f"cluster.warm.{http_peer(region)}.{_HEALTHY}", 1) == 0:
            broken.setdefault(region, f"the gateway of {region} does not receive requests")
    return Carried(broken, overflows, used)


def _ports(settings: GatewaySettings, app: App) -> dict[str, int]:
    """Return the ports that lead to an application's databases, with what each lets in."""
    (own,) = (each for each in settings.apps if each.name == app)
    limits = settings.limits
    egress = {egress_listener(app, region): limits.egress_max for region in own.egress}
    return {primary_listener(app): limits.sessions_max, **egress}


def _clusters(settings: GatewaySettings, app: App) -> dict[str, _Cluster]:
    me = settings.region
    found = {
        pods_cluster(app): _Cluster(me, _tcp(CONNECTIONS_MAX)),
        local_postgres(app): _Cluster(me, _tcp(local_max(settings))),
        late_postgres(app): _Cluster(me, _tcp(late_max(settings))),
    }
    tunnels = tunnels_max(settings)
    for region in settings.peers:
        found[http_peer(region)] = _Cluster(region, _http2(REQUESTS_MAX))
        found[postgres_peer(region)] = _Cluster(region, _http2(tunnels, pending_max=tunnels))
    (own,) = (each for each in settings.apps if each.name == app)
    for region in abroad(settings, own):
        found[spare_cluster(app, region)] = _Cluster(region, _tcp(CONNECTIONS_MAX))
    return found
