"""Turn routes into the files that Envoy watches. Pure, and always the same for the same input."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from leeward.adapters.envoy import clusters, listeners, secrets, services
from leeward.adapters.envoy import routes as tables
from leeward.adapters.envoy.bootstrap import CLUSTERS_FILE, LISTENERS_FILE
from leeward.adapters.envoy.settings import GatewaySettings
from leeward.ports.gateway import Address, Exported, Route


def render(
    settings: GatewaySettings, routes: tuple[Route, ...], exported: tuple[Exported, ...] = ()
) -> Mapping[str, str]:
    """Return the files by name, in the order to write them: what is referred to before what refers to it.

    Without the list of pods where it is not known: what is there stays.
    """
    ordered = tuple(sorted(routes, key=lambda route: route.app))
    files: dict[str, str] = {}
    if settings.peers:
        # Envoy reads them, and so confirms them, only where something refers to them.
        files[secrets.file(secrets.IDENTITY)] = _document([secrets.identity(settings)])
        files[secrets.file(secrets.TRUST)] = _document([secrets.trust(settings)])
    files |= {
        clusters.pods_file(route.app): ready_pods(route.app, route.pods) for route in ordered if route.pods is not None
    }
    shared = tuple(sorted(exported, key=lambda each: each.host))
    ready = {services.key(each): each.pods for each in shared}
    files |= {clusters.pods_file(key): ready_pods(key, addresses) for key, addresses in ready.items()}
    files[CLUSTERS_FILE] = _document([*clusters.clusters(settings, ordered), *services.clusters(settings, shared)])
    for name, table in ((tables.USERS, tables.users), (tables.PEERS, tables.peers)):
        files[listeners.routes_file(name)] = _document([table(settings, ordered)])
    files[listeners.routes_file(services.SERVICES)] = _document([services.services(settings, shared)])
    files[listeners.routes_file(services.EXPORTS)] = _document([services.exports(settings, shared)])
    files[LISTENERS_FILE] = _document(listeners.listeners(settings, ordered))
    return files


def keep_services(files: Mapping[str, str], present: Mapping[str, str]) -> Mapping[str, str]:
    """Return ``files`` with the exported services of those that are there, ``present``."""
    tables = {listeners.routes_file(name) for name in (services.SERVICES, services.EXPORTS)}
    try:
        before = json.loads(present[CLUSTERS_FILE]).get("resources", [])
    except (KeyError, ValueError):  # there is none, or half of one after the node crashed
        return files
    clusters_kept = [each for each in before if services.is_cluster(each["name"])]
    # A list that no cluster refers to is never confirmed.
    lists = {clusters.pods_file(each["name"].removeprefix(clusters.pods_cluster(""))) for each in clusters_kept}
    return {
        **{name: text for name, text in present.items() if services.is_pods_file(name) and name in lists},
        **files,
        **{name: text for name, text in present.items() if name in tables},
        CLUSTERS_FILE: _document([*json.loads(files[CLUSTERS_FILE])["resources"], *clusters_kept]),
    }


def ready_pods(name: str, ready: tuple[Address, ...]) -> str:
    """Return the file that lists the ready pods of an application or an exported service."""
    return _document([clusters.pods(name, ready)])


def version(document: str) -> str:
    """Return the version that Envoy reports once it has taken a file."""
    return str(json.loads(document)["version_info"])


def _document(resources: list[dict[str, Any]]) -> str:
    # The digest is the version: the same content is never a change, whoever wrote it before.
    text = json.dumps(resources, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return json.dumps({"version_info": digest, "resources": resources}, separators=(",", ":"))
