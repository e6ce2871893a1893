"""Envoy's route tables: which request goes where. Pure.

Two tables. ``users`` forwards: reads to the pods here (elsewhere when there are none), writes to the
primary region. ``peers`` never forwards: what another region sends is answered here or refused, so
requests cannot travel in circles while two gateways disagree about who is primary.
"""

import json
import re
from typing import Any
from urllib.parse import unquote

from leeward.adapters.envoy.clusters import (
    SESSION_IDLE_TIMEOUT,
    WARM_HOST,
    http_peer,
    late_postgres,
    pods_cluster,
    reads_cluster,
    tunnel_host,
)
from leeward.adapters.envoy.messages import typed
from leeward.adapters.envoy.settings import GatewaySettings
from leeward.core.dns.settings import regional_name
from leeward.core.values import App, Region
from leeward.ports.gateway import Route

USERS = "users"
PEERS = "peers"
REGION_HEADER = "x-leeward-region"
TIMEOUT = "15s"
RETRY_AFTER_S = 1
FIRST_WORD, LAST_WORD = "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD"
"""Whether a header that is there already stays."""

_READ = {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD|OPTIONS"}}}
READ_RETRIES = {
    "retry_on": "connect-failure,refused-stream,reset-before-request,retriable-status-codes",
    "retriable_status_codes": [503],
    "num_retries": 2,
    "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": typed(
                "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
            ),
        }
    ],
    "host_selection_retry_max_attempts": 3,
}
_BACK_OFF = {"base_interval": "0.025s", "max_interval": "0.25s"}
# Only failures that prove that no byte of the request was processed.
WRITE_RETRIES = {"retry_on": "connect-failure,refused-stream", "num_retries": 2, "retry_back_off": _BACK_OFF}
# A peer that cannot be connected to may be a black hole. A retry would go there again, whoever is primary by then;
# the client's own finds the new one.
_FORWARDED_RETRIES = {"retry_on": "refused-stream", "num_retries": 2, "retry_back_off": _BACK_OFF}


def users(settings: GatewaySettings, routes: tuple[Route, ...]) -> dict[str, Any]:
    """Return the route table of the users' listener."""
    hosts = [
        host(
            str(route.app),
            _domains(settings, route.app),
            [
                *_withheld(settings, route.app),
                forward(reads_cluster(route.app), READ_RETRIES, read=True),
                _write_from_users(settings.region, route),
            ],
        )
        for route in routes
    ]
    return table(USERS, settings.region, hosts, action=FIRST_WORD)


def peers(settings: GatewaySettings, routes: tuple[Route, ...]) -> dict[str, Any]:
    """Return the route table of what other regions send for this region's pods."""
    hosts = [
        host(
            str(route.app),
            _domains(settings, route.app),
            [
                forward(pods_cluster(route.app), READ_RETRIES, read=True),
                _write_from_peers(settings.region, route),
            ],
        )
        for route in routes
    ]
    return table(PEERS, settings.region, [_warm_answer(), *hosts], action=LAST_WORD)


def warm(peer: str) -> dict[str, Any]:
    """Return the route table through which this gateway keeps its connection to a peer open."""
    return _inline("warm", host("warm", ["*"], [_to(peer, {"timeout": "2s"})]))


def tunnel(settings: GatewaySettings) -> dict[str, Any]:
    """Return the route table that ends a peer's CONNECT at the PostgreSQL of the application that it asks for."""
    return _inline("tunnel", *(_tunnel_end(app.name) for app in settings.apps if settings.region in app.egress))


def _tunnel_end(app: App) -> dict[str, Any]:
    route = {
        "match": {"connect_matcher": {}},
        "route": {
            "cluster": late_postgres(app),
            "timeout": "0s",
            "idle_timeout": SESSION_IDLE_TIMEOUT,
            "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}],
        },
    }
    return host(str(app), [tunnel_host(app)], [route])


def _withheld(settings: GatewaySettings, app: App) -> list[dict[str, Any]]:
    (paths,) = (each.withheld_paths for each in settings.apps if each.name == app)
    refused = [(404, withheld(path)) for path in sorted(paths)]
    # Envoy leaves them alone, and a server that decodes first would resolve them into any path.
    refused += [(400, HIDDEN_DOTS)] if paths else []
    return [
        {"match": {"safe_regex": {"regex": expression}}, "direct_response": {"status": status}}
        for status, expression in refused
    ]


_SLASH, _SEMICOLON, _DOTS = "(?:/|%2f|%5c)", "(?:;|%3b)", r"(?:\.|%2e){1,2}"
_END = "(?:(?:[/;]|%(?:2f|5c|3b)).*)?"
HIDDEN_DOTS = f"(?i).*(?:(?:%2f|%5c){_DOTS}{_END}|{_SLASH}{_DOTS}(?:;|%(?:2f|5c|3b)).*)"


def withheld(path: str) -> str:
    """Return a regular expression for all that a server may take for this path or for one below it.

    The listener has resolved dot segments and decoded letters and digits by then. Servers decode the rest; some merge
    slashes, take both cases, leave out parameters of segments (``;v=1``), or read an ending (``.json``) as a format.
    """
    separator = f"(?:(?:{_SEMICOLON}[^/]*)?{_SLASH})+"
    words = [word for word in unquote(path).split("/") if word]
    expression = "".join(separator + "".join(map(_character, word)) for word in words)
    return f"(?i){expression}(?:(?:[/;.]|%[0-9a-f]{{2}}).*)?"


def _character(character: str) -> str:
    if character.isascii() and (character.isalnum() or character in "-_~"):
        return character
    encoded = "".join(f"%{byte:02x}" for byte in character.encode())
    return f"(?:{re.escape(character)}|{encoded})"


def _write_from_users(here: Region, route: Route) -> dict[str, Any]:
    if route.writers is None:
        because = f"{route.app} has no primary at the moment; nothing was written, try again"
        return refuse("no-primary", because)
    if route.writers == here:
        return forward(pods_cluster(route.app), WRITE_RETRIES, read=False)
    return forward(http_peer(route.writers), _FORWARDED_RETRIES, read=False)


def _write_from_peers(here: Region, route: Route) -> dict[str, Any]:
    if route.writers != here:
        because = f"{here} is not the primary region of {route.app}; nothing was written, try again"
        return refuse("wrong-region", because)
    return forward(pods_cluster(route.app), WRITE_RETRIES, read=False)


def forward(cluster: str, retries: dict[str, Any], *, read: bool) -> dict[str, Any]:
    """Return a route to a cluster, for reads only or for everything."""
    route = _to(cluster, {"timeout": TIMEOUT, "retry_policy": retries})
    if read:
        route["match"]["headers"] = [_READ]
    return route


def _to(cluster: str, options: dict[str, Any]) -> dict[str, Any]:
    return {"match": {"prefix": "/"}, "route": {"cluster": cluster, **options}}


def refuse(code: str, because: str, *, status: int = 503) -> dict[str, Any]:
    """Return a route that answers at once, with the reason."""
    body = json.dumps({"code": code, "because": because, "retry_after_s": RETRY_AFTER_S})
    return {
        "match": {"prefix": "/"},
        "direct_response": {"status": status, "body": {"inline_string": body}},
        "response_headers_to_add": [
            _header("content-type", "application/json", LAST_WORD),
            _header("retry-after", str(RETRY_AFTER_S), LAST_WORD),
        ],
    }


def _warm_answer() -> dict[str, Any]:
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    return host("warm", [WARM_HOST], [answer])


def table(name: str, region: Region, hosts: list[dict[str, Any]], *, action: str, **fields: Any) -> dict[str, Any]:
    """Return a route table whose answers name their region in a header; ``action`` decides between two such headers."""
    return typed(
        "envoy.config.route.v3.RouteConfiguration",
        name=name,
        virtual_hosts=hosts,
        response_headers_to_add=[_header(REGION_HEADER, str(region), action)],
        **fields,
    )


def _inline(name: str, *hosts: dict[str, Any]) -> dict[str, Any]:
    # Listeners may be read before the clusters; Envoy would reject them for good.
    return {"name": name, "virtual_hosts": list(hosts), "validate_clusters": False}


def host(name: str, domains: list[str], routes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a virtual host."""
    return {"name": name, "domains": domains, "routes": routes}


def _domains(settings: GatewaySettings, app: App) -> list[str]:
    """Return the hosts that are the application's: any when it is alone, else its name and its public names."""
    if len(settings.apps) == 1:
        return ["*"]
    (host,) = (each.host for each in settings.apps if each.name == app)
    public = [] if host.startswith(f"{app}.") or host == app else [host, f"{host}:*"]
    # DNS providers check a region by its own name; a write by that name may go on to another region.
    for region in sorted({settings.region, *settings.peers}):
        name = regional_name(host, region)
        public += [name, f"{name}:*"]
    return [str(app), f"{app}.*", f"{app}:*", *public]


def _header(key: str, value: str, action: str) -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, "append_action": action}
