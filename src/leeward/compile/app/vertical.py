"""Recommendations of CPU and memory by the vertical autoscaler. It only recommends: two autoscalers would fight.

``leeward recommendations -f DIR --cluster CLUSTER`` shows them, beside what is requested.
"""

from leeward.compile.kube.objects import KubeObject, object_of
from leeward.compile.site import Site
from leeward.spec.application import Application
from leeward.spec.workload import Vertical


def vertical(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with the recommender."""
    app, scaling = application.metadata.name, application.spec.service.autoscaling
    if scaling is None or scaling.vertical is Vertical.OFF:
        return items
    canary = application.spec.rollout.canary
    # Flagger keeps the deployment of the application's name without pods.
    target = f"{app}-primary" if canary is not None and canary.by == "flagger" else app
    recommender = object_of(
        "autoscaling.k8s.io/v1",
        "VerticalPodAutoscaler",
        app,
        application.namespace,
        site.labels(app, "service", app),
        spec={
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "updatePolicy": {"updateMode": "Off"},
            "resourcePolicy": {"containerPolicies": [{"containerName": "*", "controlledResources": ["cpu", "memory"]}]},
        },
    )
    return [*items, recommender]
