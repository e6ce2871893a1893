"""What Flagger judges a new version by: Istio's own metrics, or those of the Envoy beside the service."""

from leeward.compile.kube.objects import KubeObject, object_of
from leeward.compile.site import Site
from leeward.spec.application import Application
from leeward.spec.platform import MeshKind, Monitoring
from leeward.spec.workload import Canary

PROMETHEUS_PORT = 9090


def judged_by(site: Site, application: Application, canary: Canary) -> list[KubeObject]:
    """Return the metrics of a Canary's analysis, with the bounds of the file."""
    bounds = {"success-rate": {"min": canary.success}, "duration": {"max": round(canary.duration_s * 1000)}}
    if site.fleet.mesh.kind is not MeshKind.GATEWAY_API:
        return [
            {"name": f"request-{name}", "thresholdRange": bound, "interval": "1m"} for name, bound in bounds.items()
        ]
    app = application.metadata.name
    return [
        {"name": name, "templateRef": {"name": f"{app}-{name}"}, "thresholdRange": bound, "interval": "1m"}
        for name, bound in bounds.items()
    ]


def metric_templates(site: Site, application: Application) -> list[KubeObject]:
    """Return what Flagger asks Prometheus with the Gateway API: its built-in questions are about other labels."""
    if site.fleet.mesh.kind is not MeshKind.GATEWAY_API:
        return []
    app, monitoring = application.metadata.name, site.fleet.monitoring or Monitoring()
    address = f"http://prometheus-operated.{monitoring.namespace}:{PROMETHEUS_PORT}"
    every = _rate("envoy_cluster_upstream_rq_xx")
    failed = _rate("envoy_cluster_upstream_rq_xx", ',envoy_response_code_class="5"')
    times = _rate("envoy_cluster_upstream_rq_time_bucket")
    queries = {
        "success-rate": f"100 - 100 * (sum({failed}) or vector(0)) / sum({every})",
        "duration": f"histogram_quantile(0.99, sum by (le) ({times}))",
    }
    return [
        object_of(
            "flagger.app/v1beta1",
            "MetricTemplate",
            f"{app}-{name}",
            application.namespace,
            site.labels(app, "rollout", app),
            spec={"provider": {"type": "prometheus", "address": address}, "query": query},
        )
        for name, query in queries.items()
    ]


def _rate(metric: str, more: str = "") -> str:
    """Return the rate of a metric over the new version's pods. Flagger fills in what stands in double braces."""
    pods = 'namespace="{{ namespace }}",pod=~"{{ target }}-[0-9a-z]+-[0-9a-z]+",envoy_cluster_name="service"'
    return f"rate({metric}{{{pods}{more}}}[{{{{ interval }}}}])"
