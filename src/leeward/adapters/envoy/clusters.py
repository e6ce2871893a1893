"""Envoy's clusters: the gateway's possible targets. Pure.

The clusters of peers are always all there, whoever is primary: a failover changes routes only, and
finds its connections open. For that, ``warm.X`` checks X's health *through* this gateway's own listener
``warm`` every few seconds: such a request uses the pools that real traffic uses, and refills them after
a loss. It is no measure of the peer's health, and no decision depends on it.
"""

import hashlib
from typing import Any

from leeward.adapters.envoy import secrets
from leeward.adapters.envoy.capacity import (
    CONNECTIONS_MAX,
    PENDING_MAX,
    at_most,
    late_max,
    local_max,
    tunnels_max,
)
from leeward.adapters.envoy.keepalive import HTTP_KEEPALIVE, POSTGRES_KEEPALIVE, UPSTREAM_KEEPALIVE
from leeward.adapters.envoy.messages import config_source, tcp_address, typed
from leeward.adapters.envoy.settings import GatewayApp, GatewaySettings
from leeward.core.values import App, Region
from leeward.ports.gateway import Address, Route

CONNECT_TIMEOUT = "1s"
WARM_HOST = "warm.leeward"
WARM_INTERVAL = "2s"
NOWHERE = "nowhere"
"""A cluster without endpoints: a connection routed here is closed at once."""
# For each stream that begins, Envoy keeps this many tunnels in all, and three is its maximum. The checks of ``warm``
# begin three streams at once and end them at once: six tunnels stay in reserve for the next client. Each is but an
# HTTP/2 stream; PostgreSQL sees it only when it is used. The idle timeout ends those that a burst left over.
SPARE_RATIO = 3.0
SPARE_CHECKS = 3
SPARE_IDLE_TIMEOUT = "5s"

# A session of PostgreSQL may rightly be idle for hours: one of a pool, or one that listens for notifications. Only what
# has been silent in both directions for a day is closed; replication sends a status every second.
SESSION_IDLE_TIMEOUT = "86400s"
_TCP_OPTIONS = "envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions"
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def pods_cluster(key: str) -> str:
    """Return the name of the cluster of an application's or service's pods of this region."""
    return f"pods.{key}"


def reads_cluster(app: App) -> str:
    """Return the name of the cluster that reads go to: local pods, then the fallbacks in order."""
    return f"reads.{app}"


def http_peer(region: Region) -> str:
    """Return the name, as cluster and as SNI, of a region's pods behind its gateway."""
    return f"http.{region}"


def postgres_peer(region: Region) -> str:
    """Return the name, as cluster and as SNI, of a region's databases behind its gateway: one connection for all."""
    return f"postgres.{region}"


def local_postgres(app: App) -> str:
    """Return the name of the cluster of an application's PostgreSQL of this region."""
    return f"local.{app}"


def late_postgres(app: App) -> str:
    """Return the name, as cluster and listener, of the same, connected to only after the client has sent something."""
    return f"late.{app}"


def pods_file(key: str) -> str:
    """Return the name of the file with the ready pods of an application or service."""
    return f"eds.{key}.json"


def tunnel_host(app: App) -> str:
    """Return the host that a tunnel's CONNECT names."""
    return f"{app}.postgres"


def services_peer(region: Region) -> str:
    """Return the name, as cluster and as SNI, of the services that a region exports, behind its gateway."""
    return f"services.{region}"


def spare_cluster(app: App, region: Region) -> str:
    """Return the name of the cluster of tunnels to an application's PostgreSQL, some of them opened in advance."""
    return f"spare.{app}.{region}"


def tunnel_listener(app: App, region: Region) -> str:
    """Return the name of the internal listener that wraps a stream in a tunnel to a region's PostgreSQL."""
    return f"tunnel.{app}.{region}"


def abroad(settings: GatewaySettings, app: GatewayApp) -> list[Region]:
    """Return the other regions that have an application's PostgreSQL."""
    return sorted(region for region in app.egress if region in settings.peers)


def warm_addresses(settings: GatewaySettings, name: str, count: int = 1) -> tuple[dict[str, Any], ...]:
    """Return the addresses of a listener for warming: abstract sockets, which need no port and no file."""
    # A socket's name has 107 bytes at most, and two names of the user's are in this one.
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    path = f"@leeward-warm-{settings.host}:{settings.metrics_port}/{digest}"
    return tuple({"pipe": {"path": f"{path}.{number}"}} for number in range(count))


def clusters(settings: GatewaySettings, routes: tuple[Route, ...]) -> list[dict[str, Any]]:
    """Return every cluster of this gateway."""
    result = [_static(NOWHERE, ())]
    for route in routes:
        result.append(pods_of(settings, route.app))
        result.append(in_order(reads_cluster(route.app), (pods_cluster(route.app), *map(http_peer, route.fallbacks))))
        if route.instance is not None:
            local = _static(local_postgres(route.app), (tcp_address(route.instance),), local_max(settings))
            result.append({**local, "upstream_connection_options": UPSTREAM_KEEPALIVE})
            late = late_postgres(route.app)
            result.append(_static(late, (_internal(late),), late_max(settings)))
    most = tunnels_max(settings)
    for region, address in sorted(settings.peers.items()):
        result.append(peer(settings, region, http_peer(region), address, HTTP_KEEPALIVE))
        tunnels = peer(settings, region, postgres_peer(region), address, POSTGRES_KEEPALIVE)
        result.append({**tunnels, "circuit_breakers": at_most(requests=most, pending=most)})
        check = {"http_health_check": {"host": WARM_HOST, "path": "/"}}
        result.append(_warm(http_peer(region), warm_addresses(settings, http_peer(region)), check))
    for app in settings.apps:
        for region in abroad(settings, app):
            result.append(_spare(app.name, region))
            name = spare_cluster(app.name, region)
            result.append(_warm(name, warm_addresses(settings, name, SPARE_CHECKS), {"tcp_health_check": {}}))
    return result


def pods(key: str, ready: tuple[Address, ...]) -> dict[str, Any]:
    """Return the ready pods of an application or service, as Envoy's endpoint discovery wants them."""
    endpoints = [{"endpoint": {"address": tcp_address(pod)}} for pod in sorted(ready, key=str)]
    return typed(
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        cluster_name=pods_cluster(key),
        endpoints=[{"lb_endpoints": endpoints}] if endpoints else [],
        # One healthy pod keeps all reads here; the default would send a share abroad when a third is ejected.
        policy={"overprovisioning_factor": 10000},
    )


def pods_of(settings: GatewaySettings, key: str) -> dict[str, Any]:
    """Return the cluster of the pods that ``pods`` lists."""
    return _cluster(
        pods_cluster(key),
        type="EDS",
        eds_cluster_config={"eds_config": config_source(settings.config_dir, pods_file(key))},
        lb_policy="LEAST_REQUEST",
        upstream_connection_options=UPSTREAM_KEEPALIVE,
        # Below the keep-alive of common servers (uvicorn: 5 s): a request must not meet a closing connection.
        typed_extension_protocol_options={
            _OPTIONS: typed(
                _OPTIONS,
                common_http_protocol_options={"idle_timeout": "3s"},
                explicit_http_config={"http_protocol_options": {}},
            )
        },
        outlier_detection={
            "consecutive_5xx": 5,
            "interval": "1s",
            "base_ejection_time": "2s",
            "max_ejection_time": "30s",
            "max_ejection_percent": 50,
        },
        common_lb_config={"healthy_panic_threshold": {"value": 50}},
    )


def in_order(name: str, members: tuple[str, ...]) -> dict[str, Any]:
    """Return a cluster of clusters: each is used while those before it have no healthy endpoint."""
    return _cluster(
        name,
        lb_policy="CLUSTER_PROVIDED",
        cluster_type={
            "name": "envoy.clusters.aggregate",
            "typed_config": typed("envoy.extensions.clusters.aggregate.v3.ClusterConfig", clusters=list(members)),
        },
    )


def peer(
    settings: GatewaySettings, region: Region, name: str, address: Address, keepalive: dict[str, str]
) -> dict[str, Any]:
    """Return the cluster for one of a region's gateway names; ``name`` is its SNI too."""
    tls = typed(
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        sni=name,
        common_tls_context=tls_context(settings, (region,)),
    )
    http2 = typed(_OPTIONS, explicit_http_config={"http2_protocol_options": {"connection_keepalive": keepalive}})
    return {
        **_static(name, (tcp_address(address),)),
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
        "typed_extension_protocol_options": {_OPTIONS: http2},
    }


def _spare(app: App, region: Region) -> dict[str, Any]:
    return {
        **_static(spare_cluster(app, region), (_internal(tunnel_listener(app, region)),)),
        "preconnect_policy": {"per_upstream_preconnect_ratio": SPARE_RATIO},
        "typed_extension_protocol_options": {_TCP_OPTIONS: typed(_TCP_OPTIONS, idle_timeout=SPARE_IDLE_TIMEOUT)},
    }


def _warm(name: str, addresses: tuple[dict[str, Any], ...], kind: dict[str, Any]) -> dict[str, Any]:
    check = {
        "timeout": "2s",
        "interval": WARM_INTERVAL,
        "no_traffic_interval": WARM_INTERVAL,
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "reuse_connection": False,
        **kind,
    }
    return {**_static(f"warm.{name}", addresses), "health_checks": [check]}


def tls_context(settings: GatewaySettings, regions: tuple[Region, ...]) -> dict[str, Any]:
    """Return a TLS context that shows this region's certificate and accepts only those of ``regions``.

    Both come from files that Envoy watches: what is renewed there is used for new connections, and others go on.
    """
    return {
        "alpn_protocols": ["h2"],
        # Both ends are Envoy. Clients would offer 1.2 at most by default, which costs one more round trip.
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificate_sds_secret_configs": [secrets.source(settings, secrets.IDENTITY)],
        "combined_validation_context": {
            "default_validation_context": {
                "match_typed_subject_alt_names": [
                    {"san_type": "DNS", "matcher": {"exact": str(region)}} for region in regions
                ],
            },
            "validation_context_sds_secret_config": secrets.source(settings, secrets.TRUST),
        },
    }


def _internal(listener: str) -> dict[str, Any]:
    return {"envoy_internal_address": {"server_listener_name": listener}}


def _static(name: str, addresses: tuple[dict[str, Any], ...], connections_max: int = CONNECTIONS_MAX) -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": address}} for address in addresses]
    return _cluster(
        name,
        type="STATIC",
        circuit_breakers=at_most(connections_max, pending=max(PENDING_MAX, connections_max)),
        load_assignment={
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": endpoints}] if endpoints else [],
        },
    )


def _cluster(name: str, **fields: Any) -> dict[str, Any]:
    return typed(
        "envoy.config.cluster.v3.Cluster",
        name=name,
        connect_timeout=CONNECT_TIMEOUT,
        **{"circuit_breakers": at_most(), **fields},
    )
