"""The loop that turns desired state into pods: look at everything, take the next steps, wait for a change.

Level-triggered: it keeps no state of its own, and a region has so few objects that looking at all of them
costs less than tracking which ones matter.
"""

import asyncio
from collections.abc import Callable

from leeward.ports.cluster import (
    DEPLOYMENTS,
    PERSISTENT_VOLUME_CLAIMS,
    POD_DISRUPTION_BUDGETS,
    REPLICA_SETS,
    SERVICES,
    STATEFUL_SETS,
    KubeObject,
    Resource,
)
from leeward.world.kubernetes import garbage
from leeward.world.kubernetes.deployments import reconcile_deployment, reconcile_replica_set
from leeward.world.kubernetes.disruption import reconcile_budget
from leeward.world.kubernetes.endpoints import reconcile_service
from leeward.world.kubernetes.errors import ApiError
from leeward.world.kubernetes.recorder import Recorder
from leeward.world.kubernetes.registry import Registry
from leeward.world.kubernetes.statefulsets import reconcile_stateful_set

Reconcile = Callable[[KubeObject], None]


class Controllers:
    """Every controller of the region, in one loop."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._store = store = registry.store
        self._recorder = recorder = Recorder(registry, "controllers")
        self._steps: tuple[tuple[Resource, Reconcile], ...] = (
            (DEPLOYMENTS, lambda item: reconcile_deployment(store, recorder, item)),
            (REPLICA_SETS, lambda item: reconcile_replica_set(store, recorder, item)),
            (STATEFUL_SETS, lambda item: reconcile_stateful_set(store, recorder, item)),
            (PERSISTENT_VOLUME_CLAIMS, self._bind),
            (SERVICES, lambda item: reconcile_service(store, item)),
            (POD_DISRUPTION_BUDGETS, lambda item: reconcile_budget(store, item)),
        )

    async def run(self) -> None:
        """Reconcile after every change, until cancelled."""
        while True:
            seen = self._store.version
            self.reconcile()
            await self._store.wait(seen)
            await asyncio.sleep(0)

    def reconcile(self) -> None:
        """Take one step for every object. One that cannot be understood does not stop the others."""
        for resource, step in self._steps:
            for item in self._store.list(resource):
                try:
                    step(item)
                except (ApiError, AttributeError, KeyError, TypeError, ValueError) as error:
                    self._recorder.warning(item, "ReconcileFailed", f"cannot reconcile the {resource.kind}: {error!r}")
        garbage.collect(self._registry)

    def _bind(self, item: KubeObject) -> None:
        """A claim is a directory, made when a pod needs it: it is bound as soon as it exists."""
        self._store.set_status(PERSISTENT_VOLUME_CLAIMS, item, {"phase": "Bound"})
