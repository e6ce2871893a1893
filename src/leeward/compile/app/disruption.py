"""How many pods may be missing on purpose: one at a time, so that a drain always gets on, and never all."""

from collections.abc import Mapping

from leeward.compile.kube.objects import KubeObject, object_of
from leeward.compile.site import Site, find, pods_of
from leeward.spec.application import Application


def disruption(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with a disruption budget for the service.

    The database has one pod per region and none: its drain is a failover, requested before (see the runbook).
    """
    app = application.metadata.name
    if find(items, "Deployment", app) is None:
        return items
    labels = site.labels(app, "service", app)
    return [*items, one_at_a_time(app, application.namespace, labels, pods_of(application))]


def one_at_a_time(name: str, namespace: str, labels: Mapping[str, str], selector: Mapping[str, str]) -> KubeObject:
    """Return the budget of pods of which any one may be missing."""
    return object_of(
        "policy/v1",
        "PodDisruptionBudget",
        name,
        namespace,
        labels,
        spec={
            "maxUnavailable": 1,
            # A pod that is not ready anyway may go: it must not hold a node forever.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": dict(selector)},
        },
    )
