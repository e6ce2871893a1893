"""An application's pods through the API servers of the regions' clusters."""

from collections.abc import Mapping

from leeward.core.values import Region
from leeward.drill.access import Applied, FleetUnavailableError
from leeward.drill.measure import Moment
from leeward.ports.clock import Clock, SystemClock
from leeward.ports.cluster import (
    PODS,
    BudgetError,
    Cluster,
    ClusterUnavailableError,
    KubeObject,
    NotFoundError,
    RejectedError,
)

TIMEOUT_S = 10.0


class ClusterPods:
    """The pods that a selector matches, in one namespace of each region's cluster."""

    def __init__(
        self,
        clusters: Mapping[Region, Cluster],
        namespace: str,
        labels: Mapping[str, str],
        clock: Clock | None = None,
    ) -> None:
        self._clusters = clusters
        self._namespace = namespace
        self._selector = ",".join(f"{key}={value}" for key, value in labels.items())
        self._clock = clock or SystemClock()

    async def ready(self, region: Region) -> tuple[str, ...]:
        """Return the names of the ready, non-terminating pods, oldest first. Raises FleetUnavailableError."""
        try:
            listing = await self._clusters[region].list(
                PODS, namespace=self._namespace, label_selector=self._selector, timeout_s=TIMEOUT_S
            )
        except (ClusterUnavailableError, RejectedError) as error:
            raise FleetUnavailableError(f"the API server of {region}: {error}") from error
        available = [pod for pod in listing.items if _is_available(pod)]
        available.sort(key=lambda pod: pod["metadata"]["creationTimestamp"])
        return tuple(pod["metadata"]["name"] for pod in available)

    async def kill(self, region: Region, pod: str) -> Applied:
        """Delete it without a grace period; it may be gone already. Raises FleetUnavailableError."""
        at = self._now()
        try:
            await self._clusters[region].delete(PODS, pod, namespace=self._namespace, grace_s=0, timeout_s=TIMEOUT_S)
        except NotFoundError:
            return at
        except (ClusterUnavailableError, RejectedError) as error:
            raise FleetUnavailableError(f"the API server of {region}: {error}") from error
        return at

    async def evict(self, region: Region, pod: str) -> Applied | None:
        """Evict it; None while its disruption budget forbids that. Raises FleetUnavailableError."""
        at = self._now()
        try:
            await self._clusters[region].evict(pod, namespace=self._namespace, timeout_s=TIMEOUT_S)
        except BudgetError:
            return None
        except NotFoundError:
            return at
        except (ClusterUnavailableError, RejectedError) as error:
            raise FleetUnavailableError(f"the API server of {region}: {error}") from error
        return at

    def _now(self) -> Moment:
        return Moment(self._clock.unix_s(), self._clock.now_s())


def _is_available(pod: KubeObject) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return "deletionTimestamp" not in pod["metadata"] and any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions
    )
