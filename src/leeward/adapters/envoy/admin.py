"""Envoy's administration: a socket that only the gateway's own pod shares, and two pages for everyone else. Pure.

Anyone with access to the administration can stop the gateway for good with one POST, so it has no port. Others get two
pages, by GET and by exactly these paths, through a listener of the gateway's own. It runs where the users' listener
runs: once the listeners are drained, or an Envoy thread hangs, it does not answer either, and the liveness probe fails.
"""

from typing import Any

from leeward.adapters.envoy.messages import seconds, tcp_address, typed
from leeward.adapters.envoy.settings import GatewaySettings
from leeward.ports.gateway import Address

READY_PATH, METRICS_PATH = "/ready", "/stats/prometheus"
NAME = "admin"
SOCKET_MODE = 0o600
# The pages are made in Envoy's main thread, which takes new routes in, too: few at a time, the others wait.
_AT_ONCE, _WAITING = 4, 64
_TIMEOUT_S = 5.0
_IDLE_S = 60.0


def administration(settings: GatewaySettings) -> dict[str, Any]:
    """Return the administration part of the bootstrap document."""
    return {"address": {"pipe": {"path": settings.admin_socket, "mode": SOCKET_MODE}}}


def cluster(settings: GatewaySettings) -> dict[str, Any]:
    """Return the cluster by which the pages' listener reaches the administration."""
    endpoint = {"endpoint": {"address": {"pipe": {"path": settings.admin_socket}}}}
    limits = {"max_connections": _AT_ONCE, "max_pending_requests": _WAITING, "max_requests": _AT_ONCE + _WAITING}
    return {
        "name": NAME,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": NAME, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def listener(settings: GatewaySettings) -> dict[str, Any]:
    """Return what shows the two pages, and refuses all else."""
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", suppress_envoy_headers=True),
    }
    refused = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 403, "body": {"inline_string": f"GET {READY_PATH} or {METRICS_PATH}\n"}},
    }
    manager = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=NAME,
        http_filters=[router],
        route_config={
            "name": NAME,
            "virtual_hosts": [
                {"name": NAME, "domains": ["*"], "routes": [_page(READY_PATH), _page(METRICS_PATH), refused]}
            ],
        },
        request_headers_timeout=seconds(_TIMEOUT_S),
        request_timeout=seconds(_TIMEOUT_S),
        stream_idle_timeout=seconds(2 * _TIMEOUT_S),
        common_http_protocol_options={"idle_timeout": seconds(_IDLE_S)},
    )
    return {
        "name": NAME,
        "address": tcp_address(Address(settings.host, settings.metrics_port)),
        "ignore_global_conn_limit": True,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _page(path: str) -> dict[str, Any]:
    # The pseudo-header has the query, too: there must be none.
    exactly = [
        {"name": name, "string_match": {"exact": value}} for name, value in ((":method", "GET"), (":path", path))
    ]
    return {
        "match": {"path": path, "headers": exactly},
        "route": {"cluster": NAME, "timeout": seconds(_TIMEOUT_S)},
    }
