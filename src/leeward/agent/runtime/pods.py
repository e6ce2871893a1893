"""The application's ready pods in this region, from the Endpoints of its Service."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import structlog

from leeward.core.values import App
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

log = structlog.get_logger()

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
        while True:
            try:
                async for event in self._cluster.watch(
                    ENDPOINTS,
                    namespace=self._namespaces[app],
                    field_selector=f"metadata.name={app}",
                    timeout_s=WATCH_TIMEOUT_S,
                ):
                    yield addresses(event.item)
            except (ClusterUnavailableError, ExpiredError) as error:
                log.info("pod watch lost; reconnecting", app=app, because=str(error))
                await asyncio.sleep(RECONNECT_S)
            except (NotFoundError, RejectedError) as error:
                log.warning("failed to watch pods", app=app, because=str(error))
                await asyncio.sleep(ASK_AGAIN_S)
            else:
                await asyncio.sleep(RECONNECT_S)


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
