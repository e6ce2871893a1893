"""The settings of the Envoy beside a service: limits, breakers, retries, balancing, metrics.

Its administration is a socket that Envoy's container alone has; from the pod's network two pages can be read.
"""

from dataclasses import dataclass

from leeward.compile.kube.objects import KubeObject
from leeward.spec.traffic import Traffic

ADMIN_DIR = "/run/envoy"
ADMIN_SOCKET = f"{ADMIN_DIR}/admin.sock"
_TYPE = "type.googleapis.com/envoy."


@dataclass(frozen=True, slots=True)
class EnvoySettings:
    """What Envoy is started with."""

    bootstrap: KubeObject
    cluster: KubeObject
    """The service's cluster, without its address: that is added where the pod's address is known."""


def envoy_settings(
    traffic: Traffic, *, listen_port: int, metrics_port: int, per_minute: int | None, per_hour: int | None
) -> EnvoySettings:
    """Return them. The limits are this pod's share."""
    limits = [_limit("per_minute", per_minute, 60), _limit("per_hour", per_hour, 3600)]
    route = {
        "match": {"prefix": "/"},
        "route": {
            "cluster": "service",
            "timeout": "15s",
            "retry_policy": {
                # Only failures that prove that the service has not seen the request.
                "retry_on": "connect-failure,refused-stream,reset-before-request",
                "num_retries": traffic.retries.attempts,
                "per_try_timeout": _seconds(traffic.retries.timeout_s),
            },
        },
    }
    users = _manager("users", [each for each in limits if each], [route])
    metrics = _manager(
        "metrics",
        [],
        [
            {"match": _exactly("/ready"), "route": {"cluster": "admin"}},
            {"match": _exactly("/metrics"), "route": {"cluster": "admin", "prefix_rewrite": "/stats/prometheus"}},
        ],
    )
    return EnvoySettings(
        bootstrap={
            "admin": {"address": {"pipe": {"path": ADMIN_SOCKET, "mode": 0o600}}},
            "static_resources": {
                "listeners": [_listener("users", listen_port, users), _listener("metrics", metrics_port, metrics)],
                "clusters": [
                    {
                        "name": "admin",
                        "type": "STATIC",
                        "load_assignment": {
                            "cluster_name": "admin",
                            "endpoints": [
                                {"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": ADMIN_SOCKET}}}}]}
                            ],
                        },
                    }
                ],
            },
        },
        cluster={
            "name": "service",
            "type": "STATIC",
            "connect_timeout": "1s",
            "lb_policy": "LEAST_REQUEST",
            "circuit_breakers": {
                "thresholds": [
                    {
                        "max_connections": traffic.breaker.connections,
                        "max_pending_requests": traffic.breaker.pending,
                        "track_remaining": True,
                    }
                ]
            },
        },
    )


def _exactly(path: str) -> KubeObject:
    """Return what matches GET of this very path, without a query."""
    exactly = ((":method", "GET"), (":path", path))
    return {"path": path, "headers": [{"name": name, "string_match": {"exact": value}} for name, value in exactly]}


def _limit(name: str, requests: int | None, window_s: int) -> KubeObject | None:
    if requests is None:
        return None
    return {
        "name": f"envoy.filters.http.local_ratelimit.{name}",
        "typed_config": {
            "@type": f"{_TYPE}extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": name,
            "token_bucket": {"max_tokens": requests, "tokens_per_fill": requests, "fill_interval": f"{window_s}s"},
            "filter_enabled": {"default_value": {"numerator": 100, "denominator": "HUNDRED"}},
            "filter_enforced": {"default_value": {"numerator": 100, "denominator": "HUNDRED"}},
        },
    }


def _manager(name: str, filters: list[KubeObject], routes: list[KubeObject]) -> KubeObject:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_TYPE}extensions.filters.http.router.v3.Router"},
    }
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{_TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "http_filters": [*filters, router],
            "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}]},
        },
    }


def _listener(name: str, port: int, manager: KubeObject) -> KubeObject:
    return {"name": name, "address": _address("0.0.0.0", port), "filter_chains": [{"filters": [manager]}]}


def _address(host: str, port: int) -> KubeObject:
    return {"socket_address": {"address": host, "port_value": port}}


def _seconds(seconds: float) -> str:
    """Return a duration as protobuf's JSON writes it."""
    return f"{seconds:g}s"
