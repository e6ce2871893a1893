"""What is measured and where it goes: scraping, alerts with their runbooks, dashboards, traces, logs."""

import copy
import json

from leeward.compile.app.sidecars import EXPORTER_PORT
from leeward.compile.kube import objects as k8s
from leeward.compile.kube.objects import KubeObject, object_of, selector_of
from leeward.compile.observe.alerts import alerts
from leeward.compile.observe.dashboards import dashboard
from leeward.compile.region.identity import METRICS_SECRET
from leeward.compile.site import Site, find, is_service_of, pods_of
from leeward.compile.target import SYSTEM_NAMESPACE
from leeward.core.identities import CA, CERTIFICATE, KEY
from leeward.spec.application import Application
from leeward.spec.platform import MeshKind

OBSERVABILITY = "observability"
LOGGING = "logging"
OTLP_PORT = 4317
COLLECTOR = (
    "docker.io/otel/opentelemetry-collector-contrib:0.139.0"
    "@sha256:faf125d656fa47cea568b2f3b4494efd2525083bc75c1e96038bc23f05cd68fd"
)
FLUENT_BIT = "cr.fluentbit.io/fluent/fluent-bit:4.1.1"
METRICS = "metrics"
PROXY_PORT = "http-envoy-prom"
"""What Istio calls the port of its proxy with the metrics that Flagger judges by."""


def monitoring(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with the application's monitor, alerts and dashboard."""
    wanted, app = site.fleet.monitoring, application.metadata.name
    if wanted is None or find(items, "Deployment", app) is None:
        return items
    result = [_with_metrics_port(application, item) if is_service_of(application, item) else item for item in items]
    labels = site.labels(app, "monitoring", app)
    namespace = application.namespace
    endpoints = _endpoints(application, meshed=site.fleet.mesh.kind is MeshKind.ISTIO)
    if endpoints:
        spec = {"selector": {"matchLabels": pods_of(application)}, "podMetricsEndpoints": endpoints}
        result.append(object_of("monitoring.coreos.com/v1", "PodMonitor", app, namespace, labels, spec=spec))
    groups = alerts(site, application, f"{wanted.runbooks}/{app}")
    rules = object_of("monitoring.coreos.com/v1", "PrometheusRule", app, namespace, labels, spec={"groups": groups})
    board = json.dumps(dashboard(application), indent=2)
    found = {**labels, "grafana_dashboard": "1"}
    return [*result, rules, k8s.config_map(f"{app}-dashboard", namespace, found, {f"{app}.json": board})]


def _with_metrics_port(application: Application, item: KubeObject) -> KubeObject:
    """Return the deployment with a named port where the service shows metrics on another than its own."""
    wanted = application.spec.service
    if wanted.metrics is None or wanted.metrics.port in (None, wanted.port):
        return item
    result = copy.deepcopy(item)
    ports = result["spec"]["template"]["spec"]["containers"][0]["ports"]
    ports.append({"name": METRICS, "containerPort": wanted.metrics.port})
    return result


def _endpoints(application: Application, *, meshed: bool) -> list[KubeObject]:
    service, sidecars = application.spec.service, application.spec.sidecars
    result: list[KubeObject] = []
    if service.metrics is not None:
        own = service.metrics.port not in (None, service.port)
        port = METRICS if own else "service" if sidecars.envoy else "http"
        result.append({"port": port, "path": service.metrics.path, "interval": "15s"})
    if sidecars.metrics is not None:
        result.append({"port": EXPORTER_PORT, "path": "/metrics", "interval": "15s"})
    if meshed:
        result.append({"port": PROXY_PORT, "path": "/stats/prometheus", "interval": "15s"})
    if sidecars.envoy is not None:
        result.append({"port": "envoy-metrics", "path": "/metrics", "interval": "15s"})
    return result


def leeward_monitor(site: Site) -> list[KubeObject]:
    """Return what scrapes the agent and the gateway. The agent answers certificates of the fleet's authority only."""
    if site.fleet.monitoring is None or not site.home:
        return []
    labels = site.labels("leeward", "monitoring", "leeward")

    def part(key: str) -> KubeObject:
        return {"secret": {"name": METRICS_SECRET, "key": key}}

    agent = {
        "port": "agent",
        "path": "/metrics",
        "scheme": "https",
        "interval": "5s",
        "tlsConfig": {
            "ca": part(CA),
            "cert": part(CERTIFICATE),
            "keySecret": {"name": METRICS_SECRET, "key": KEY},
            "serverName": site.region.name,
        },
    }
    gateway = {"port": "metrics", "path": "/stats/prometheus", "interval": "15s"}
    spec = {"selector": {"matchLabels": selector_of("leeward", "agent")}, "podMetricsEndpoints": [agent, gateway]}
    return [object_of("monitoring.coreos.com/v1", "PodMonitor", "leeward", SYSTEM_NAMESPACE, labels, spec=spec)]


def tracing(site: Site, application: Application, items: list[KubeObject]) -> list[KubeObject]:
    """Return the objects with the service configured to send traces."""
    if site.fleet.tracing is None:
        return items
    app = application.metadata.name
    attributes = {
        "service.namespace": application.namespace,
        "cloud.region": site.region.name,
        "k8s.cluster.name": site.cluster.name,
    }
    variables = k8s.env(
        OTEL_SERVICE_NAME=app,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://otel-collector.{OBSERVABILITY}.svc:{OTLP_PORT}",
        # The port takes gRPC only, and that is no SDK's default.
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_RESOURCE_ATTRIBUTES=",".join(f"{key}={value}" for key, value in attributes.items()),
        OTEL_TRACES_SAMPLER="parentbased_traceidratio",
        OTEL_TRACES_SAMPLER_ARG=f"{site.fleet.tracing.sample / 100:g}",
    )
    result = [copy.deepcopy(item) if is_service_of(application, item) else item for item in items]
    for item in result:
        if is_service_of(application, item):
            item["spec"]["template"]["spec"]["containers"][0].setdefault("env", []).extend(variables)
    return result


def collector(site: Site) -> list[KubeObject]:
    """Return the cluster's OpenTelemetry collector."""
    if site.fleet.tracing is None:
        return []
    name = "otel-collector"
    labels, selector = site.labels(name, "tracing", "leeward"), selector_of(name, "tracing")
    settings = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"0.0.0.0:{OTLP_PORT}"}}}},
        "processors": {
            "memory_limiter": {"check_interval": "1s", "limit_mib": 200},
            "resource": {
                "attributes": [
                    {"key": "cloud.region", "value": site.region.name, "action": "upsert"},
                    {"key": "k8s.cluster.name", "value": site.cluster.name, "action": "upsert"},
                ]
            },
            "batch": {},
        },
        "exporters": {"otlp/jaeger": {"endpoint": site.fleet.tracing.jaeger, "tls": {"insecure": True}}},
        "service": {
            "pipelines": {
                "traces": {
                    "receivers": ["otlp"],
                    "processors": ["memory_limiter", "resource", "batch"],
                    "exporters": ["otlp/jaeger"],
                }
            }
        },
    }
    container = k8s.container(
        name,
        COLLECTOR,
        ("/otelcol-contrib", "--config=/etc/otel/collector.json"),
        ports={"otlp": OTLP_PORT},
        mounts=[k8s.mount("settings", "/etc/otel", read_only=True)],
        resources={"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        readiness=k8s.tcp_probe("otlp", period_s=5, failures=3),
    )
    template = k8s.pod_template(
        labels, [container], account=name, grace_s=30, volumes=[k8s.config_map_volume("settings", name)]
    )
    return [
        k8s.namespace(OBSERVABILITY, site.labels(OBSERVABILITY, "tracing", "leeward")),
        k8s.service_account(name, OBSERVABILITY, labels),
        k8s.config_map(name, OBSERVABILITY, labels, {"collector.json": json.dumps(settings, indent=2)}),
        k8s.service(name, OBSERVABILITY, labels, selector, {"otlp": OTLP_PORT}),
        k8s.deployment(
            name,
            OBSERVABILITY,
            labels,
            selector,
            template,
            replicas=2,
            strategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        ),
    ]


def node_logs(site: Site) -> list[KubeObject]:
    """Return Fluent Bit on every node: it reads what containers print. It alone may read the nodes' files."""
    if site.fleet.logging is None:
        return []
    name = "fluent-bit"
    labels, selector = site.labels(name, "logging", "leeward"), selector_of(name, "logging")
    output = {
        "name": "loki",
        "match": "*",
        "host": site.fleet.logging.loki_host,
        "port": site.fleet.logging.loki_port,
        "labels": f"region={site.region.name}, cluster={site.cluster.name}",
        "label_keys": "$kubernetes['namespace_name'],$kubernetes['pod_name'],$kubernetes['container_name']",
    }
    settings = {
        "service": {"flush": 1, "log_level": "warn"},
        "pipeline": {
            "inputs": [
                {
                    "name": "tail",
                    "path": "/var/log/containers/*.log",
                    "multiline.parser": "docker, cri",
                    "tag": "kube.*",
                    "mem_buf_limit": "16MB",
                }
            ],
            "filters": [{"name": "kubernetes", "match": "kube.*", "merge_log": True}],
            "outputs": [output],
        },
    }
    container = k8s.container(
        name,
        FLUENT_BIT,
        ("/fluent-bit/bin/fluent-bit", "-c", "/etc/fluent-bit/fluent-bit.yaml"),
        ports={},
        mounts=[
            k8s.mount("settings", "/etc/fluent-bit", read_only=True),
            k8s.mount("varlog", "/var/log", read_only=True),
        ],
        resources={"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
    )
    template = k8s.pod_template(
        labels,
        [container],
        account=name,
        grace_s=10,
        volumes=[
            k8s.config_map_volume("settings", name),
            {"name": "varlog", "hostPath": {"path": "/var/log", "type": "Directory"}},
        ],
    )
    pod = template["spec"]
    # The nodes' log files belong to root; and its account must ask which pod a file is of.
    pod["securityContext"] = {"runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}}
    pod["automountServiceAccountToken"] = True
    pod["tolerations"] = [{"operator": "Exists"}]
    rules = [{"apiGroups": [""], "resources": ["pods", "namespaces"], "verbs": ["get", "list", "watch"]}]
    group = "rbac.authorization.k8s.io"
    reference = {"apiGroup": group, "kind": "ClusterRole", "name": f"leeward-{name}"}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": LOGGING}
    privileged = k8s.namespace(LOGGING, site.labels(LOGGING, "logging", "leeward"))
    for mode in ("enforce", "audit", "warn"):
        privileged["metadata"]["labels"][f"pod-security.kubernetes.io/{mode}"] = "privileged"
    return [
        privileged,
        k8s.service_account(name, LOGGING, labels),
        object_of(f"{group}/v1", "ClusterRole", f"leeward-{name}", None, labels, rules=rules),
        object_of(
            f"{group}/v1",
            "ClusterRoleBinding",
            f"leeward-{name}",
            None,
            labels,
            roleRef=reference,
            subjects=[subject],
        ),
        k8s.config_map(name, LOGGING, labels, {"fluent-bit.yaml": json.dumps(settings, indent=2)}),
        object_of(
            "apps/v1",
            "DaemonSet",
            name,
            LOGGING,
            labels,
            spec={"selector": {"matchLabels": selector}, "template": template},
        ),
    ]
