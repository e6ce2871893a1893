"""Envoy's listeners: who may say what to the gateway, and on which port. Pure.

Only an application's ``primary`` listener ever changes with a failover. Its filter chain is replaced in place,
and with a drain time of zero (``bootstrap.command``) Envoy closes the connections of the old chain at once,
whether or not the old region still answers.
"""

from typing import Any

from leeward.adapters.envoy import routes as tables
from leeward.adapters.envoy import services
from leeward.adapters.envoy.bootstrap import config_source
from leeward.adapters.envoy.clusters import (
    HTTP_KEEPALIVE,
    NOWHERE,
    POSTGRES_KEEPALIVE,
    abroad,
    http_peer,
    late_postgres,
    local_postgres,
    postgres_peer,
    services_peer,
    spare_cluster,
    tcp_address,
    tls_context,
    tunnel_host,
    tunnel_listener,
    typed,
    warm_address,
)
from leeward.adapters.envoy.settings import GatewayApp, GatewaySettings
from leeward.core.values import App, Region
from leeward.ports.gateway import Address, Route

_HTTP_MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
EARLY_BYTES_MAX = 65536
# No address is trusted with Envoy's own request headers, which could make a write be retried.
_NOBODY_INTERNAL = {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]}


def routes_file(table: str) -> str:
    """Return the name of the file with a route table."""
    return f"rds.{table}.json"


def listeners(settings: GatewaySettings, routes: tuple[Route, ...]) -> list[dict[str, Any]]:
    """Return every listener of this gateway."""
    result = [
        _requests(settings, tables.USERS, settings.users_port),
        _requests(settings, services.SERVICES, settings.services_port),
    ]
    if settings.peers:
        result.append(_peers(settings))
    result += [_warm_requests(settings, http_peer(region)) for region in sorted(settings.peers)]
    by_app = {route.app: route for route in routes}
    for app in settings.apps:
        if app.postgres_port is not None:
            result += _database(settings, app, app.postgres_port, by_app.get(app.name))
    return result


def _database(
    settings: GatewaySettings, app: GatewayApp, primary_port: int, route: Route | None
) -> list[dict[str, Any]]:
    """Return what leads to one application's PostgreSQL, here and elsewhere, and nowhere else."""
    here = route is not None and route.instance is not None
    local = local_postgres(app.name) if here else NOWHERE
    elsewhere = abroad(settings, app)

    def to(region: Region | None) -> str:
        if region == settings.region:
            return local
        return spare_cluster(app.name, region) if region in elsewhere else NOWHERE

    result = [_late(app.name, local)] if here and settings.peers else []
    for region in elsewhere:
        result += [_tunnel(app.name, region), _warm_streams(settings, spare_cluster(app.name, region))]
    result.append(_tcp(settings, f"primary.{app.name}", primary_port, to(route.primary if route else None)))
    for region, port in sorted(app.egress.items()):
        result.append(_tcp(settings, f"egress.{app.name}.{region}", port, to(region)))
    return result


def _requests(settings: GatewaySettings, table: str, port: int) -> dict[str, Any]:
    manager = _http(
        settings,
        table,
        rds=_rds(settings, table),
        use_remote_address=True,
        internal_address_config=_NOBODY_INTERNAL,
        request_headers_timeout="10s",
    )
    return _listener(table, _at(settings, port), [{"filters": [manager]}])


def _peers(settings: GatewaySettings) -> dict[str, Any]:
    requests, exported = (
        _http(
            settings,
            table,
            codec_type="HTTP2",
            rds=_rds(settings, table),
            http2_protocol_options={"connection_keepalive": HTTP_KEEPALIVE},
        )
        for table in (tables.PEERS, services.EXPORTS)
    )
    streams = _http(
        settings,
        "tunnel",
        codec_type="HTTP2",
        route_config=tables.tunnel(settings),
        stream_idle_timeout="0s",
        http2_protocol_options={"allow_connect": True, "connection_keepalive": POSTGRES_KEEPALIVE},
    )
    chains = [
        _mutual_tls(settings, http_peer(settings.region), requests),
        _mutual_tls(settings, postgres_peer(settings.region), streams),
        _mutual_tls(settings, services_peer(settings.region), exported),
    ]
    inspector = {
        "name": "envoy.filters.listener.tls_inspector",
        "typed_config": typed("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"),
    }
    listener = _listener("peers", _at(settings, settings.peers_port), chains)
    return {**listener, "listener_filters": [inspector]}


def _mutual_tls(settings: GatewaySettings, name: str, network_filter: dict[str, Any]) -> dict[str, Any]:
    tls = typed(
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        require_client_certificate=True,
        common_tls_context=tls_context(settings, tuple(sorted(settings.peers))),
    )
    return {
        "name": name,
        "filter_chain_match": {"server_names": [name]},
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
        "filters": [network_filter],
    }


def _warm_requests(settings: GatewaySettings, peer: str) -> dict[str, Any]:
    manager = _http(settings, f"warm.{peer}", route_config=tables.warm(peer))
    return _listener(f"warm.{peer}", warm_address(settings, peer), [{"filters": [manager]}])


def _warm_streams(settings: GatewaySettings, spare: str) -> dict[str, Any]:
    return _listener(f"warm.{spare}", warm_address(settings, spare), [{"filters": [_proxy(f"warm.{spare}", spare)]}])


def _tunnel(app: App, region: Region) -> dict[str, Any]:
    name = tunnel_listener(app, region)
    proxy = _proxy(name, postgres_peer(region), tunneling_config={"hostname": tunnel_host(app)})
    return _internal_listener(name, proxy)


def _late(app: App, local: str) -> dict[str, Any]:
    # A tunnel kept in reserve must not occupy a backend of PostgreSQL, where it would also time out unauthenticated.
    name = late_postgres(app)
    proxy = _proxy(name, local, upstream_connect_mode="ON_DOWNSTREAM_DATA", max_early_data_bytes=EARLY_BYTES_MAX)
    return _internal_listener(name, proxy)


def _tcp(settings: GatewaySettings, name: str, port: int, cluster: str) -> dict[str, Any]:
    return _listener(name, _at(settings, port), [{"filters": [_proxy(name, cluster)]}])


def _proxy(name: str, cluster: str, **fields: Any) -> dict[str, Any]:
    proxy = typed(
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        stat_prefix=name,
        cluster=cluster,
        idle_timeout="0s",
        **fields,
    )
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}


def _http(settings: GatewaySettings, name: str, **fields: Any) -> dict[str, Any]:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", suppress_envoy_headers=True),
    }
    log = {
        "name": "envoy.access_loggers.stdout",
        "typed_config": typed(
            "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            log_format={"json_format": _LOG_FIELDS},
        ),
    }
    manager = typed(
        _HTTP_MANAGER,
        stat_prefix=name,
        http_filters=[router],
        access_log=[log] if settings.access_log else [],
        **fields,
    )
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}


_LOG_FIELDS = {
    "at": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "host": "%REQ(:AUTHORITY)%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "duration_ms": "%DURATION%",
    "cluster": "%UPSTREAM_CLUSTER%",
}


def _rds(settings: GatewaySettings, table: str) -> dict[str, Any]:
    source = config_source(settings.config_dir, routes_file(table))
    return {"route_config_name": table, "config_source": source}


def _at(settings: GatewaySettings, port: int) -> dict[str, Any]:
    return tcp_address(Address(settings.host, port))


def _internal_listener(name: str, network_filter: dict[str, Any]) -> dict[str, Any]:
    return typed(
        "envoy.config.listener.v3.Listener",
        name=name,
        internal_listener={},
        filter_chains=[{"filters": [network_filter]}],
    )


def _listener(name: str, address: dict[str, Any], chains: list[dict[str, Any]]) -> dict[str, Any]:
    return typed("envoy.config.listener.v3.Listener", name=name, address=address, filter_chains=chains)
