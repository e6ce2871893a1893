"""A new version beside the old one: who runs it and who judges it.

By ``leeward`` there is a second deployment, and the mesh or the gateway gives it the fixed weight of the file. By
``flagger`` there is a Canary, and Flagger makes the rest inside the cluster.
"""

import copy
import math

from leeward.compile.kube.objects import KubeObject, object_of
from leeward.compile.site import Site, find
from leeward.compile.traffic.mesh_traffic import INGRESS, host_of, match_of, retries_of, traffic_policy
from leeward.spec.application import Application
from leeward.spec.workload import Canary, Exposure

VERSION = "leeward.dev/version"
STABLE = "stable"


def canary_name(application: Application) -> str:
    """Return the name of the new version's deployment."""
    return f"{application.metadata.name}-canary"


def is_static(application: Application) -> bool:
    """Return whether there is a new version that Leeward gives its weight."""
    canary = application.spec.rollout.canary
    return canary is not None and canary.by == "leeward" and canary.image is not None


def versions(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with the version written on the pods, and the new version's deployment."""
    app = application.metadata.name
    deployment = find(items, "Deployment", app)
    if deployment is None:
        return items
    result = [_versioned(item, STABLE) if item is deployment else item for item in items]
    canary = application.spec.rollout.canary
    if canary is not None and is_static(application):
        result.append(_second(application, deployment, canary))
    return result


def _versioned(deployment: KubeObject, version: str) -> KubeObject:
    result = copy.deepcopy(deployment)
    result["spec"]["template"]["metadata"]["labels"][VERSION] = version
    return result


def _second(application: Application, deployment: KubeObject, canary: Canary) -> KubeObject:
    result = _versioned(deployment, "canary")
    result["metadata"]["name"] = canary_name(application)
    # Its own selector, so that the two deployments do not fight; the service selects the pods of both.
    result["spec"]["selector"]["matchLabels"][VERSION] = "canary"
    share = max(1, math.ceil(application.spec.service.replicas * canary.weight / 100))
    result["spec"] = {"replicas": share, **{key: value for key, value in result["spec"].items() if key != "replicas"}}
    result["spec"]["template"]["spec"]["containers"][0]["image"] = canary.image
    return result


def flagger(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with Flagger's Canary in place of what Flagger makes itself."""
    canary, app = application.spec.rollout.canary, application.metadata.name
    if canary is None or canary.by != "flagger" or find(items, "Deployment", app) is None:
        return items
    service = find(items, "Service", app)
    result = [item for item in items if item is not service]
    if application.spec.service.expose is Exposure.LOAD_BALANCER and service is not None:
        result.append(_public(application, service))
    return [*result, _canary(site, application, canary)]


def _public(application: Application, service: KubeObject) -> KubeObject:
    """Return the load balancer's service: Flagger owns the one of the application's name."""
    result = copy.deepcopy(service)
    result["metadata"]["name"] = f"{application.metadata.name}-public"
    result["spec"]["selector"] = {"app.kubernetes.io/name": f"{application.metadata.name}-primary"}
    return result


def _policy(site: Site, application: Application) -> KubeObject:
    """Return the traffic policy in Flagger's words: fewer than Istio's, and an older one for warming up."""
    policy = traffic_policy(site, application)
    balancer = {**policy["loadBalancer"]}
    if warmup := balancer.pop("warmup", None):
        balancer["warmupDurationSecs"] = warmup["duration"]
    return {**policy, "connectionPool": {"http": policy["connectionPool"]["http"]}, "loadBalancer": balancer}


def _canary(site: Site, application: Application, canary: Canary) -> KubeObject:
    app, service = application.metadata.name, application.spec.service
    meshed = site.fleet.mesh.kind == "istio"
    spec: KubeObject = {
        "provider": {"istio": "istio", "gateway-api": "gatewayapi:v1"}.get(site.fleet.mesh.kind, "kubernetes"),
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": app},
    }
    if service.autoscaling is not None:
        spec["autoscalerRef"] = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": app}
    spec["progressDeadlineSeconds"] = int(canary.deadline_s)
    spec["service"] = {"port": service.port, "portName": "http", "targetPort": "http"}
    if meshed:
        spec["service"] |= {
            "gateways": [INGRESS, "mesh"],
            "hosts": [site.host(application), host_of(application)],
            "match": match_of(application),
            "retries": retries_of(application),
            "trafficPolicy": _policy(site, application),
        }
    elif site.fleet.mesh.kind == "gateway-api":
        spec["service"] |= {
            "hosts": [site.host(application)],
            "gatewayRefs": [{"name": app, "namespace": application.namespace}],
        }
    spec["analysis"] = {
        "interval": f"{canary.interval_s:g}s",
        "threshold": canary.threshold,
        "maxWeight": canary.max,
        "stepWeight": canary.step,
        "metrics": [
            {"name": "request-success-rate", "thresholdRange": {"min": canary.success}, "interval": "1m"},
            {"name": "request-duration", "thresholdRange": {"max": round(canary.duration_s * 1000)}, "interval": "1m"},
        ],
    }
    if not meshed and site.fleet.mesh.kind != "gateway-api":
        # Without a mesh no component splits requests by weight: the new version is judged before it gets any.
        analysis = {key: value for key, value in spec["analysis"].items() if key not in ("maxWeight", "stepWeight")}
        spec["analysis"] = {**analysis, "iterations": math.ceil(canary.max / canary.step)}
    return object_of(
        "flagger.app/v1beta1", "Canary", app, application.namespace, site.labels(app, "rollout", app), spec=spec
    )
