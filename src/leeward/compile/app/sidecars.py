"""Containers beside the service's: Fluent Bit, a metrics exporter, Envoy.

Always true: with Envoy beside it the service's port leads to Envoy and only Envoy calls the service, so no request
passes the limits by; probes still ask the service itself.
"""

import copy
import json
import math

from leeward.compile.app.service import PORT
from leeward.compile.app.sidecar_envoy import ADMIN_DIR, envoy_settings
from leeward.compile.kube import objects as k8s
from leeward.compile.kube.objects import KubeObject
from leeward.compile.site import Site, find, is_service_of
from leeward.spec.application import Application
from leeward.spec.check_ports import ENVOY_METRICS
from leeward.spec.platform import Logging
from leeward.spec.workload import EnvoySidecar, LoggingSidecar, MetricsSidecar

LOGS = "logs"
LOGS_SIZE = "1Gi"
"""How much a service may have written that is not rotated away: beyond it the pod is evicted, not its node filled."""
SERVICE_PORT = "service"
EXPORTER_PORT = "exporter"
"""Another name than that of the service's own metrics: a monitor asks for ports by name."""
ENVOY_METRICS_PORT = ENVOY_METRICS
ENVOY_ADMIN = "envoy-admin"
SMALL = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}


def sidecars(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with the sidecars in the service's pods."""
    wanted = application.spec.sidecars
    result = [copy.deepcopy(item) if is_service_of(application, item) else item for item in items]
    deployment = find(result, "Deployment", application.metadata.name)
    if deployment is None:
        return items
    pod = deployment["spec"]["template"]["spec"]
    if wanted.logging is not None:
        result.append(_logging(site, application, wanted.logging, pod))
    if wanted.metrics is not None:
        _metrics(wanted.metrics, pod)
    if wanted.envoy is not None:
        result.append(_envoy(site, application, wanted.envoy, pod))
    return result


def pods_max(application: Application) -> int:
    """Return how many pods of the service a cluster runs at most."""
    service = application.spec.service
    return service.autoscaling.max if service.autoscaling else service.replicas


def _logging(site: Site, application: Application, wanted: LoggingSidecar, pod: KubeObject) -> KubeObject:
    name = f"{application.metadata.name}-fluent-bit"
    loki = site.fleet.logging or Logging()
    settings = {
        "service": {"flush": 1, "log_level": "warn"},
        "pipeline": {
            "inputs": [{"name": "tail", "path": f"{wanted.directory}/*.log", "tag": "app", "read_from_head": True}],
            "outputs": [
                {
                    "name": "loki",
                    "match": "*",
                    "host": loki.loki_host,
                    "port": loki.loki_port,
                    "labels": ", ".join(f"{key}={value}" for key, value in _origin(site, application).items()),
                    "line_format": "json",
                }
            ],
        },
    }
    pod["containers"][0].setdefault("volumeMounts", []).append(k8s.mount(LOGS, wanted.directory))
    pod["containers"].append(
        k8s.container(
            "logging",
            wanted.image,
            ("/fluent-bit/bin/fluent-bit", "-c", "/etc/fluent-bit/fluent-bit.yaml"),
            ports={},
            mounts=[k8s.mount(LOGS, wanted.directory), k8s.mount("fluent-bit", "/etc/fluent-bit", read_only=True)],
            resources=SMALL,
        )
    )
    pod.setdefault("volumes", []).extend(
        [k8s.empty_volume(LOGS, size=LOGS_SIZE), k8s.config_map_volume("fluent-bit", name)]
    )
    labels = site.labels(application.metadata.name, "logging", application.metadata.name)
    return k8s.config_map(name, application.namespace, labels, {"fluent-bit.yaml": json.dumps(settings, indent=2)})


def _origin(site: Site, application: Application) -> dict[str, str]:
    return {"app": application.metadata.name, "region": site.region.name, "cluster": site.cluster.name}


def _metrics(wanted: MetricsSidecar, pod: KubeObject) -> None:
    pod["containers"][0].setdefault("env", []).extend(k8s.env(STATSD_HOST="127.0.0.1", STATSD_PORT="9125"))
    exporter = k8s.container(
        "metrics",
        wanted.image,
        (),
        ports={EXPORTER_PORT: wanted.port},
        resources=SMALL,
        readiness=k8s.tcp_probe(EXPORTER_PORT, period_s=10, failures=3),
    )
    # The image's own entry point, with our arguments.
    exporter.pop("command")
    pod["containers"].append({**exporter, "args": list(wanted.args)})


def _envoy(site: Site, application: Application, wanted: EnvoySidecar, pod: KubeObject) -> KubeObject:
    name = f"{application.metadata.name}-envoy"
    service = pod["containers"][0]
    for port in service["ports"]:
        if port["name"] == PORT:
            port["name"] = SERVICE_PORT
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if service.get(probe, {}).get("httpGet", {}).get("port") == PORT:
            service[probe]["httpGet"]["port"] = SERVICE_PORT
    limit = application.spec.traffic.rate_limit
    share = pods_max(application)
    settings = envoy_settings(
        application.spec.traffic,
        listen_port=wanted.port,
        metrics_port=ENVOY_METRICS_PORT,
        per_minute=limit.per_minute and max(1, math.floor(limit.per_minute / share)),
        per_hour=limit.per_hour and max(1, math.floor(limit.per_hour / share)),
    )
    # Only the pod knows its address, and Envoy reads no environment: Kubernetes writes it into the argument.
    upstream = {
        "static_resources": {
            "clusters": [{**settings.cluster, "load_assignment": _endpoint("$(POD_IP)", application.spec.service.port)}]
        }
    }
    envoy = k8s.container(
        "envoy",
        wanted.image,
        ("envoy", "-c", "/etc/envoy/envoy.json", "--config-yaml", json.dumps(upstream), "--log-level", "warning"),
        ports={PORT: wanted.port, "envoy-metrics": ENVOY_METRICS_PORT},
        env=[k8s.pod_ip_env()],
        mounts=[k8s.mount("envoy", "/etc/envoy", read_only=True), k8s.mount(ENVOY_ADMIN, ADMIN_DIR)],
        resources={"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        readiness=k8s.http_probe("/ready", "envoy-metrics", period_s=2, failures=3),
    )
    pod["containers"].append(envoy)
    pod.setdefault("volumes", []).extend([k8s.config_map_volume("envoy", name), k8s.empty_volume(ENVOY_ADMIN)])
    labels = site.labels(application.metadata.name, "envoy", application.metadata.name)
    text = json.dumps(settings.bootstrap, indent=2)
    return k8s.config_map(name, application.namespace, labels, {"envoy.json": text})


def _endpoint(host: str, port: int) -> KubeObject:
    address = {"socket_address": {"address": host, "port_value": port}}
    return {"cluster_name": "service", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}
