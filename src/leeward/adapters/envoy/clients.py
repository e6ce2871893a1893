"""What one client may hold of a gateway: connections, requests under way, requests per second. Pure.

Envoy counts requests per second for each address. It counts connections and requests under way only for each filter
chain: so the users' listener has one chain for each group of addresses, and a hash of the address chooses. A client
that takes all that its group may hold shuts out the other addresses of its group, one in ``Limits.groups``, and no
other client. This region's pods, which ask for exported services, have one chain together.
"""

import ipaddress
import json
from typing import Any

from leeward.adapters.envoy.messages import seconds, typed
from leeward.adapters.envoy.settings import GatewaySettings
from leeward.core.values import Region

TOO_MANY = 429
RETRY_AFTER_S = 1
BURST_S = 2
"""A client that sent nothing may send what it has for so long at once."""
OWN, PROXIES = "own", "proxies"
_REMEMBERED_MAX = 1024
"""Addresses of each group whose requests are counted at a time; the one that asked longest ago is forgotten first."""
# Never met: what has no address (a pipe) has no other bucket.
_UNLIMITED = {"max_tokens": 1_000_000_000, "tokens_per_fill": 1_000_000_000, "fill_interval": "1s"}
_ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
_IPV6_CLIENT_BITS = 64
_ADDRESS = {
    "name": "envoy.matching.inputs.source_ip",
    "typed_config": typed("envoy.extensions.matching.common_inputs.network.v3.SourceIPInput"),
}


def own_address(settings: GatewaySettings) -> str:
    """Return the address from which the agent beside the gateway asks it: no limit of clients' counts there."""
    host = ipaddress.ip_address(settings.host)
    if not host.is_unspecified:
        return str(host)
    return "127.0.0.1" if host.version == 4 else "::1"


def chains(settings: GatewaySettings, name: str, manager: dict[str, Any], ours: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the filter chains of a listener: one for each group of clients, and those that ``matcher`` leads past.

    ``manager``: what serves clients. ``ours``: the same for the agent beside this gateway, without limits.
    """
    limits = settings.limits
    limited = [connection_limit(name, limits.clients.connections), manager]
    result = [{"name": _group(number), "filters": limited} for number in range(limits.groups)]
    if limits.clients.proxies:
        # The client is the last that a load balancer names.
        result.append({"name": PROXIES, "filters": [_without_groups(manager, xff_num_trusted_hops=1)]})
    return [*result, {"name": OWN, "filters": [ours]}]


def together(settings: GatewaySettings, name: str, manager: dict[str, Any]) -> dict[str, Any]:
    """Return the filter chain of a listener whose clients share one number of connections: this region's pods."""
    return {"filters": [connection_limit(name, settings.limits.clients.connections), _without_groups(manager)]}


def _without_groups(manager: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return the manager without the limit that counts for its chain, not for each address."""
    config = manager["typed_config"]
    filters = [each for each in config["http_filters"] if each["name"] != _UNDER_WAY]
    return {**manager, "typed_config": {**config, "http_filters": filters, **fields}}


def matcher(settings: GatewaySettings) -> dict[str, Any]:
    """Return what chooses the chain of a new connection, by its address alone."""
    groups, proxies = settings.limits.groups, settings.limits.clients.proxies
    matchers = [_if(_within(proxies), PROXIES)] if proxies else []
    # The first that holds: the hash modulo the number of groups is at least ``number``, and no larger number was.
    matchers += [_if(_hashed(number, groups), _group(number)) for number in range(groups - 1, 0, -1)]
    others = {"matcher": {"matcher_list": {"matchers": matchers}, "on_no_match": _chain(_group(0))}}
    return {
        "matcher_tree": {"input": _ADDRESS, "exact_match_map": {"map": {own_address(settings): _chain(OWN)}}},
        "on_no_match": others,
    }


def connection_limit(name: str, connections_max: int) -> dict[str, Any]:
    """Return the filter that closes a connection at once when its chain has so many."""
    return {
        "name": "envoy.filters.network.connection_limit",
        "typed_config": typed(
            "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
            stat_prefix=name,
            max_connections=connections_max,
        ),
    }


_UNDER_WAY = "envoy.filters.http.adaptive_concurrency"


def http_filters(settings: GatewaySettings, name: str) -> tuple[dict[str, Any], ...]:
    """Return the filters that answer 429 to a client that has too many requests under way, or asks too often."""
    clients = settings.limits.clients
    # With both ends of its range the same and nothing to measure, the limit that it would adapt is fixed.
    fixed = settings.limits.client_requests
    under_way = typed(
        "envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency",
        gradient_controller_config={
            "concurrency_limit_params": {
                "max_concurrency_limit": fixed,
                "concurrency_update_interval": seconds(60),
            },
            "min_rtt_calc_params": {"min_concurrency": fixed, "fixed_value": seconds(1)},
        },
        enabled={"default_value": True, "runtime_key": "leeward.requests_under_way_limited"},
        concurrency_limit_exceeded_status={"code": "TooManyRequests"},
    )
    bucket = {
        "max_tokens": BURST_S * clients.requests_per_s,
        "tokens_per_fill": clients.requests_per_s,
        "fill_interval": "1s",
    }
    rate = typed(
        "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix=name,
        status={"code": "TooManyRequests"},
        filter_enabled=_ALWAYS,
        filter_enforced=_ALWAYS,
        token_bucket=_UNLIMITED,
        always_consume_default_token_bucket=False,
        max_dynamic_descriptors=_REMEMBERED_MAX,
        rate_limits=[
            {
                "actions": [
                    {"masked_remote_address": {"v4_prefix_mask_len": 32, "v6_prefix_mask_len": _IPV6_CLIENT_BITS}}
                ]
            }
        ],
        descriptors=[{"entries": [{"key": "masked_remote_address"}], "token_bucket": bucket}],
    )
    return (
        {"name": "envoy.filters.http.local_ratelimit", "typed_config": rate},
        {"name": _UNDER_WAY, "typed_config": under_way},
    )


def answers(region: Region) -> dict[str, Any]:
    """Return how the filters' refusals are worded."""
    because = f"the gateway of {region} serves one client so much at a time; nothing was done, try again"
    body = json.dumps({"code": "too-many-requests", "because": because, "retry_after_s": RETRY_AFTER_S})
    comparison = {"op": "EQ", "value": {"default_value": TOO_MANY, "runtime_key": "leeward.too_many_requests"}}
    return {
        "mappers": [
            {
                "filter": {"status_code_filter": {"comparison": comparison}},
                "body_format_override": {
                    "text_format_source": {"inline_string": body},
                    "content_type": "application/json",
                },
                "headers_to_add": [
                    {
                        "header": {"key": "retry-after", "value": str(RETRY_AFTER_S)},
                        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                    }
                ],
            }
        ]
    }


def _group(number: int) -> str:
    return f"clients.{number}"


def _chain(name: str) -> dict[str, Any]:
    action = {"name": name, "typed_config": typed("google.protobuf.StringValue", value=name)}
    return {"action": action}


def _if(custom_match: dict[str, Any], chain: str) -> dict[str, Any]:
    predicate = {"single_predicate": {"input": _ADDRESS, "custom_match": custom_match}}
    return {"predicate": predicate, "on_match": _chain(chain)}


def _hashed(threshold: int, modulo: int) -> dict[str, Any]:
    config = typed(
        "envoy.extensions.matching.input_matchers.consistent_hashing.v3.ConsistentHashing",
        threshold=threshold,
        modulo=modulo,
    )
    return {"name": "envoy.matching.matchers.consistent_hashing", "typed_config": config}


def _within(networks: tuple[str, ...]) -> dict[str, Any]:
    parsed = [ipaddress.ip_network(each) for each in networks]
    ranges = [{"address_prefix": str(each.network_address), "prefix_len": each.prefixlen} for each in parsed]
    config = typed("envoy.extensions.matching.input_matchers.ip.v3.Ip", cidr_ranges=ranges, stat_prefix=PROXIES)
    return {"name": "envoy.matching.matchers.ip", "typed_config": config}
