"""How much each of Envoy's clusters, and each port that leads to a database, carries at most. Pure."""

from typing import Any

from leeward.adapters.envoy.settings import GatewaySettings
from leeward.core.values import App, Region

# What a cluster carries at most; more is refused at once. ``usage`` watches them.
CONNECTIONS_MAX, PENDING_MAX, REQUESTS_MAX = 1024, 1024, 4096
# What leads to databases has more: all that the ports before it let in, so that whoever fills one port leaves
# replication and other applications what they need.


def primary_listener(app: App) -> str:
    """Return the name of the listener that leads to the primary of an application's PostgreSQL."""
    return f"primary.{app}"


def egress_listener(app: App, region: Region) -> str:
    """Return the name of the listener that leads to an application's PostgreSQL of a region."""
    return f"egress.{app}.{region}"


def local_max(settings: GatewaySettings) -> int:
    """Return how many streams an application's PostgreSQL of this region gets: all that the regions' ports let in."""
    return (len(settings.peers) + 1) * (settings.limits.sessions_max + settings.limits.egress_max)


def late_max(settings: GatewaySettings) -> int:
    """Return how many tunnels may end at an application's PostgreSQL here: all that the other regions may open."""
    return max(1, len(settings.peers)) * CONNECTIONS_MAX


def tunnels_max(settings: GatewaySettings) -> int:
    """Return how many tunnels lead to a region: all that the applications may open, those in reserve included."""
    return max(REQUESTS_MAX, len(settings.apps) * CONNECTIONS_MAX)


def at_most(
    connections: int = CONNECTIONS_MAX, *, requests: int = REQUESTS_MAX, pending: int = PENDING_MAX
) -> dict[str, Any]:
    """Return a cluster's circuit breakers."""
    limits = {
        "max_connections": connections,
        "max_pending_requests": pending,
        "max_requests": requests,
        "max_retries": 32,
    }
    return {"thresholds": [limits]}
