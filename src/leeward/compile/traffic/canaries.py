"""A new version beside the old one: who runs it and who judges it.

By ``leeward`` there is a second deployment, and the mesh gives it the fixed weight of the file. Leeward's own gateways
balance over pods and know no weights: ``validate`` says what share of the users that makes, and refuses it without a
mesh. By ``flagger`` there is a Canary, and Flagger makes the rest inside the cluster; it judges by the mesh's metrics,
with the Gateway API by those of the Envoy beside the service, and without a mesh by the readiness of the new pods.
"""

import copy
import math

from leeward.compile.app.service import fixed_autoscaler
from leeward.compile.kube.objects import KubeObject, object_of
from leeward.compile.site import Site, find, is_service_of
from leeward.compile.traffic.judging import judged_by, metric_templates
from leeward.compile.traffic.mesh_traffic import INGRESS, host_of, match_of, retries_of, traffic_policy
from leeward.spec.application import Application
from leeward.spec.check_canary import canary_pods
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
    canary = application.spec.rollout.canary
    result = [_stable(item, canary) if item is deployment else item for item in items]
    if canary is not None and is_static(application):
        result.append(_second(application, deployment, canary))
    return result


def _versioned(deployment: KubeObject, version: str) -> KubeObject:
    result = copy.deepcopy(deployment)
    result["spec"]["template"]["metadata"]["labels"][VERSION] = version
    return result


def _stable(deployment: KubeObject, canary: Canary | None) -> KubeObject:
    result = _versioned(deployment, STABLE)
    if canary is None or canary.by != "flagger":
        # Or it would take the new version's pods for its own, and so would the autoscaler. Flagger makes its selectors.
        result["spec"]["selector"]["matchLabels"][VERSION] = STABLE
    return result


def _second(application: Application, deployment: KubeObject, canary: Canary) -> KubeObject:
    result = _versioned(deployment, "canary")
    result["metadata"]["name"] = canary_name(application)
    # Its own selector, so that the two deployments do not fight; the service selects the pods of both.
    result["spec"]["selector"]["matchLabels"][VERSION] = "canary"
    share = canary_pods(application, canary)
    result["spec"] = {"replicas": share, **{key: value for key, value in result["spec"].items() if key != "replicas"}}
    result["spec"]["template"]["spec"]["containers"][0]["image"] = canary.image
    return result


def flagger(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with Flagger's Canary in place of what Flagger makes itself."""
    canary, app = application.spec.rollout.canary, application.metadata.name
    if canary is None or canary.by != "flagger" or find(items, "Deployment", app) is None:
        return items
    service = find(items, "Service", app)
    result = [_unscaled(item) if is_service_of(application, item) else item for item in items if item is not service]
    if application.spec.service.autoscaling is None:
        result.append(fixed_autoscaler(application, site.labels(app, "service", app)))
    if application.spec.service.expose is Exposure.LOAD_BALANCER and service is not None:
        result.append(_public(application, service))
    return [*result, *metric_templates(site, application), _canary(site, application, canary)]


def _unscaled(deployment: KubeObject) -> KubeObject:
    """Return the deployment without a number of pods: Flagger scales it to none, its copy has the autoscaler's."""
    spec = {key: value for key, value in deployment["spec"].items() if key != "replicas"}
    return {**deployment, "spec": spec}


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
        "metrics": judged_by(site, application, canary),
    }
    if not meshed and site.fleet.mesh.kind != "gateway-api":
        # Without a mesh no component splits requests by weight: no metric tells of a version that gets none.
        unsplit = ("maxWeight", "stepWeight", "metrics")
        analysis = {key: value for key, value in spec["analysis"].items() if key not in unsplit}
        spec["analysis"] = {**analysis, "iterations": math.ceil(canary.max / canary.step)}
    return object_of(
        "flagger.app/v1beta1", "Canary", app, application.namespace, site.labels(app, "rollout", app), spec=spec
    )
