"""How many pods may be missing on purpose: one at a time, so that a drain always gets on, and never all."""

from leeward.compile.objects import KubeObject, object_of
from leeward.compile.site import Site, find, pods_of
from leeward.spec.application import Application


def disruption(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with a disruption budget for the service.

    The database has one pod per region and none: its drain is a failover, ordered before (the runbook tells how).
    """
    app = application.metadata.name
    if find(items, "Deployment", app) is None:
        return items
    budget = object_of(
        "policy/v1",
        "PodDisruptionBudget",
        app,
        application.namespace,
        site.labels(app, "service", app),
        spec={
            "maxUnavailable": 1,
            # A pod that is not ready anyway may go: it must not hold a node for ever.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": pods_of(application)},
        },
    )
    return [*items, budget]
