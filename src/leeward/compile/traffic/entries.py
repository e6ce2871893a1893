"""How users come in by one anycast address over all of Google's clusters: MultiClusterIngress and -Service."""

import json

from leeward.compile.kube.objects import KubeObject, object_of
from leeward.compile.site import Site, all_clusters, find, pods_of
from leeward.spec.application import Application
from leeward.spec.fleet import Provider


def entry(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with the multi-cluster service, and on the first cluster of Google's the ingress.

    The ingress lives on one configuration cluster; what it configured goes on without it.
    """
    wanted, app = site.fleet.entry, application.metadata.name
    if wanted is None or site.region.provider is not Provider.GCP or find(items, "Deployment", app) is None:
        return items
    labels, namespace = site.labels(app, "entry", app), application.namespace
    clusters = [cluster.name for region, cluster in all_clusters(site.spec) if region.provider is Provider.GCP]
    if site.cluster.name != clusters[0]:
        return items
    port = application.spec.service.port
    service = object_of(
        "networking.gke.io/v1",
        "MultiClusterService",
        f"{app}-global",
        namespace,
        labels,
        spec={
            "template": {
                "spec": {
                    "selector": pods_of(application),
                    "ports": [{"name": "http", "protocol": "TCP", "port": port, "targetPort": "http"}],
                }
            }
        },
    )
    # Without it Google's checks ask for the front page.
    service["metadata"]["annotations"] = {"cloud.google.com/backend-config": json.dumps({"default": app})}
    checks = {"type": "HTTP", "requestPath": application.spec.service.probes.readiness}
    backend = object_of("cloud.google.com/v1", "BackendConfig", app, namespace, labels, spec={"healthCheck": checks})
    annotations = {"networking.gke.io/static-ip": wanted.address}
    if wanted.certificate is not None:
        annotations["networking.gke.io/pre-shared-certs"] = wanted.certificate
    ingress = object_of(
        "networking.gke.io/v1",
        "MultiClusterIngress",
        app,
        namespace,
        labels,
        annotations,
        spec={"template": {"spec": {"backend": {"serviceName": f"{app}-global", "servicePort": port}}}},
    )
    return [*items, backend, service, ingress]
