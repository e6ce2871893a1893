"""Turn routes into the files that Envoy watches. Pure, and always the same for the same input."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from leeward.adapters.envoy import clusters, listeners, services
from leeward.adapters.envoy import routes as tables
from leeward.adapters.envoy.bootstrap import CLUSTERS_FILE, LISTENERS_FILE
from leeward.adapters.envoy.settings import GatewaySettings
from leeward.ports.gateway import Exported, Route


def render(
    settings: GatewaySettings, routes: tuple[Route, ...], exported: tuple[Exported, ...] = ()
) -> Mapping[str, str]:
    """Return the files by name, in the order to write them: what is referred to before what refers to it."""
    ordered = tuple(sorted(routes, key=lambda route: route.app))
    files = {clusters.pods_file(route.app): _document([clusters.pods(route.app, route.pods)]) for route in ordered}
    shared = tuple(sorted(exported, key=lambda each: each.host))
    ready = {services.key(each): each.pods for each in shared}
    files |= {clusters.pods_file(key): _document([clusters.pods(key, pods)]) for key, pods in ready.items()}
    files[CLUSTERS_FILE] = _document([*clusters.clusters(settings, ordered), *services.clusters(settings, shared)])
    for name, table in ((tables.USERS, tables.users), (tables.PEERS, tables.peers)):
        files[listeners.routes_file(name)] = _document([table(settings, ordered)])
    files[listeners.routes_file(services.SERVICES)] = _document([services.services(settings, shared)])
    files[listeners.routes_file(services.EXPORTS)] = _document([services.exports(settings, shared)])
    files[LISTENERS_FILE] = _document(listeners.listeners(settings, ordered))
    return files


def version(document: str) -> str:
    """Return the version that Envoy reports once it has taken a file."""
    return str(json.loads(document)["version_info"])


def _document(resources: list[dict[str, Any]]) -> str:
    # The digest is the version: the same content is never a change, whoever wrote it before.
    text = json.dumps(resources, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return json.dumps({"version_info": digest, "resources": resources}, separators=(",", ":"))
