"""The application's ready pods in this region, from the Endpoints of its Service."""

from collections.abc import AsyncIterator, Mapping
from functools import partial

from leeward.core.values import App
from leeward.kit.loops import Expected, about, follow
from leeward.ports.cluster import (
    ENDPOINTS,
    Cluster,
    ClusterUnavailableError,
    ExpiredError,
    KubeObject,
    NotFoundError,
    RejectedError,
)
from leeward.ports.gateway import Address

WATCH_TIMEOUT_S = 10.0
RECONNECT_S = 0.2
ASK_AGAIN_S = 2.0
"""An application may be known before its namespace is there, with the role that lets us look into it."""


class ClusterPods:
    """Follows the Endpoints object named like the application, in its namespace."""

    def __init__(self, cluster: Cluster, namespaces: Mapping[App, str]) -> None:
        self._cluster = cluster
        self._namespaces = namespaces

    async def ready(self, app: App) -> AsyncIterator[tuple[Address, ...]]:
        """Yield the ready pods at once and whenever they change; goes on over errors."""
        watch = partial(
            self._cluster.watch,
            ENDPOINTS,
            namespace=self._namespaces[app],
            field_selector=f"metadata.name={app}",
            timeout_s=WATCH_TIMEOUT_S,
        )
        expected = (
            Expected(
                (ClusterUnavailableError, ExpiredError), about(RECONNECT_S), "pod watch lost; reconnecting", "info"
            ),
            Expected((NotFoundError, RejectedError), about(ASK_AGAIN_S), "failed to watch pods"),
        )
        async for event in follow("watch pods", watch, about(RECONNECT_S), expected, app=app):
            yield addresses(event.item)


def addresses(endpoints: KubeObject) -> tuple[Address, ...]:
    """Return the ready addresses of an Endpoints object, in a stable order."""
    return tuple(
        sorted(
            (
                Address(address["ip"], subset["ports"][0]["port"])
                for subset in endpoints.get("subsets") or []
                if subset.get("ports")
                for address in subset.get("addresses") or []
            ),
            key=lambda address: (address.host, address.port),
        )
    )
