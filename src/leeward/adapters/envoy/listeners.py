"""Envoy's listeners: who may send what to the gateway, and on which port. Pure.

Only an application's ``primary`` listener ever changes with a failover. Its filter chain is replaced in place,
and with a drain time of zero (``bootstrap.command``) Envoy closes the connections of the old chain at once,
whether or not the old region still answers.
"""

from typing import Any

from leeward.adapters.envoy import clients, services
from leeward.adapters.envoy import routes as tables
from leeward.adapters.envoy.capacity import egress_listener, primary_listener
from leeward.adapters.envoy.clusters import (
    NOWHERE,
    SESSION_IDLE_TIMEOUT,
    SPARE_CHECKS,
    abroad,
    http_peer,
    late_postgres,
    local_postgres,
    postgres_peer,
    services_peer,
    spare_cluster,
    tls_context,
    tunnel_host,
    tunnel_listener,
    warm_addresses,
)
from leeward.adapters.envoy.keepalive import DOWNSTREAM_KEEPALIVE, HTTP_KEEPALIVE, POSTGRES_KEEPALIVE
from leeward.adapters.envoy.messages import config_source, seconds, tcp_address, typed
from leeward.adapters.envoy.settings import READY_HOST, GatewayApp, GatewaySettings
from leeward.core.values import App, Region
from leeward.ports.gateway import Address, Route

_HTTP_MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
WARM_IDLE_TIMEOUT = "5s"
# A client of PostgreSQL sends first, and at once. Longer than any tunnel waits in reserve.
SILENT_TIMEOUT = "15s"
# What one HTTP/2 request may send ahead of its reader, and so once per round trip; a connection sixteen times that.
_WINDOW_BYTES = 256 * 1024
_TLS_INSPECTOR = {
    "name": "envoy.filters.listener.tls_inspector",
    "typed_config": typed("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"),
}
# Answers before any route, is not counted as a request, and returns 503 while Envoy is set to fail its health checks.
_READY = {
    "name": "envoy.filters.http.health_check",
    "typed_config": typed(
        "envoy.extensions.filters.http.health_check.v3.HealthCheck",
        pass_through_mode=False,
        headers=[{"name": ":authority", "string_match": {"exact": READY_HOST}}],
    ),
}
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
    limits, primary = settings.limits, to(route.primary if route else None)
    result.append(_tcp(settings, primary_listener(app.name), primary_port, primary, limits.sessions_max))
    for region, port in sorted(app.egress.items()):
        name = egress_listener(app.name, region)
        result.append(_tcp(settings, name, port, to(region), limits.egress_max))
    return result


def _requests(settings: GatewaySettings, table: str, port: int) -> dict[str, Any]:
    manager = _users(settings, table, (_READY, *clients.http_filters(settings, table)))
    if table != tables.USERS:
        return _tcp_listener(table, settings, port, [clients.together(settings, table, manager)], limited=True)
    chains = clients.chains(settings, table, manager, ours=_users(settings, table, (_READY,)))
    listener = _tcp_listener(table, settings, port, chains, limited=True)
    return {**listener, "filter_chain_matcher": clients.matcher(settings)}


def _users(settings: GatewaySettings, table: str, filters: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    limits = settings.limits
    return _http(
        settings,
        table,
        filters=filters,
        rds=_rds(settings, table),
        use_remote_address=True,
        normalize_path=True,
        internal_address_config=_NOBODY_INTERNAL,
        local_reply_config=clients.answers(settings.region),
        request_headers_timeout=seconds(limits.headers_s),
        request_timeout=seconds(limits.request_s),
        stream_idle_timeout=seconds(limits.silent_s),
        common_http_protocol_options={"idle_timeout": seconds(limits.idle_s)},
        http2_protocol_options={
            "max_concurrent_streams": limits.streams_max,
            "initial_stream_window_size": _WINDOW_BYTES,
            "initial_connection_window_size": 16 * _WINDOW_BYTES,
        },
    )


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
        stream_idle_timeout=SESSION_IDLE_TIMEOUT,
        http2_protocol_options={"allow_connect": True, "connection_keepalive": POSTGRES_KEEPALIVE},
    )
    chains = [
        _mutual_tls(settings, http_peer(settings.region), requests),
        _mutual_tls(settings, postgres_peer(settings.region), streams),
        _mutual_tls(settings, services_peer(settings.region), exported),
    ]
    listener = _tcp_listener("peers", settings, settings.peers_port, chains)
    return {**listener, "listener_filters": [_TLS_INSPECTOR]}


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
    (address,) = warm_addresses(settings, peer)
    return _listener(f"warm.{peer}", address, [{"filters": [manager]}])


def _warm_streams(settings: GatewaySettings, spare: str) -> dict[str, Any]:
    # A check disconnects as soon as it is connected. Nothing is ever sent, whoever answers at the other end, or not.
    proxy = _proxy(f"warm.{spare}", spare, idle_timeout=WARM_IDLE_TIMEOUT)
    first, *others = warm_addresses(settings, spare, SPARE_CHECKS)
    listener = _listener(f"warm.{spare}", first, [{"filters": [proxy]}])
    return {**listener, "additional_addresses": [{"address": address} for address in others]}


def _tunnel(app: App, region: Region) -> dict[str, Any]:
    name = tunnel_listener(app, region)
    proxy = _proxy(name, postgres_peer(region), tunneling_config={"hostname": tunnel_host(app)})
    return _internal_listener(name, proxy)


def _late(app: App, local: str) -> dict[str, Any]:
    # A tunnel kept in reserve must not occupy a backend of PostgreSQL, where it would also time out unauthenticated.
    # A listener filter waits for the first byte, because it also notices a client that hangs up before it sent one;
    # tcp_proxy's ON_DOWNSTREAM_DATA does not, and keeps such a tunnel for ever.
    name = late_postgres(app)
    listener = _internal_listener(name, _proxy(name, local))
    return {**listener, "listener_filters": [_TLS_INSPECTOR], "listener_filters_timeout": SILENT_TIMEOUT}


def _tcp(settings: GatewaySettings, name: str, port: int, cluster: str, streams_max: int) -> dict[str, Any]:
    filters = [clients.connection_limit(name, streams_max), _proxy(name, cluster)]
    return _tcp_listener(name, settings, port, [{"filters": filters}])


def _proxy(name: str, cluster: str, *, idle_timeout: str = SESSION_IDLE_TIMEOUT, **fields: Any) -> dict[str, Any]:
    proxy = typed(
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        stat_prefix=name,
        cluster=cluster,
        idle_timeout=idle_timeout,
        **fields,
    )
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}


def _http(
    settings: GatewaySettings, name: str, *, filters: tuple[dict[str, Any], ...] = (), **fields: Any
) -> dict[str, Any]:
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
        http_filters=[*filters, router],
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


def _tcp_listener(
    name: str, settings: GatewaySettings, port: int, chains: list[dict[str, Any]], *, limited: bool = False
) -> dict[str, Any]:
    """Return a listener on a port; the connections of ``limited`` ones share ``Limits.connections_max``."""
    listener = _listener(name, tcp_address(Address(settings.host, port)), chains)
    return {**listener, "socket_options": DOWNSTREAM_KEEPALIVE, "ignore_global_conn_limit": not limited}


def _internal_listener(name: str, network_filter: dict[str, Any]) -> dict[str, Any]:
    return typed(
        "envoy.config.listener.v3.Listener",
        name=name,
        internal_listener={},
        filter_chains=[{"filters": [network_filter]}],
    )


def _listener(name: str, address: dict[str, Any], chains: list[dict[str, Any]]) -> dict[str, Any]:
    return typed(
        "envoy.config.listener.v3.Listener",
        name=name,
        address=address,
        filter_chains=chains,
        ignore_global_conn_limit=True,
    )
