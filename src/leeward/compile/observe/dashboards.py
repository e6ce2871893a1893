"""A Grafana dashboard for an application: what users see above, what may be the cause below."""

from leeward.compile.kube.objects import KubeObject
from leeward.compile.observe.alerts import requests
from leeward.spec.application import Application

WIDTH, HEIGHT = 12, 8


def dashboard(application: Application) -> KubeObject:
    """Return the dashboard, as Grafana's sidecar reads it."""
    app, namespace = application.metadata.name, application.namespace
    of, where = f'application="{app}"', f'namespace="{namespace}"'
    counter, chosen = requests(application)
    duration = f"sum by (le) (rate({counter}_time_bucket{{{chosen}}}[5m]))"
    rows = [
        ("Requests per second", f"sum(rate({counter}_total{{{chosen}}}[1m]))", "reqps"),
        (
            "Failed requests per second",
            f'sum(rate({counter}_xx{{{chosen},envoy_response_code_class="5"}}[1m]))',
            "reqps",
        ),
        ("Duration, 99th percentile", f"histogram_quantile(0.99, {duration})", "ms"),
        ("Primary", f"leeward_primary{{{of}}}", "bool_yes_no"),
        ("Epoch", f"max(leeward_epoch{{{of}}})", "none"),
        ("Replication lag", f"leeward_replication_lag_seconds{{{of}}}", "s"),
        ("WAL that a standby lacks", f"leeward_replication_lag_bytes{{{of}}}", "bytes"),
        ("Ready pods", f"leeward_pods_ready{{{of}}}", "none"),
        (
            "Last failover, by stage",
            f"max by (stage) (leeward_failover_stage_duration_seconds{{{of}}})",
            "s",
        ),
        (
            "Conditions that are False",
            f'max by (type) (leeward_condition{{{of},status="False",type!~"Paused|Reconciling|Stalled"}})',
            "bool_yes_no",
        ),
        ("Lease time left", "leeward_lease_remaining_seconds", "s"),
        (
            "CPU",
            f'sum by (pod) (rate(container_cpu_usage_seconds_total{{{where},container!=""}}[5m]))',
            "none",
        ),
    ]
    return {
        "uid": f"leeward-{app}",
        "title": f"{app}: regions, requests, database",
        "tags": ["leeward"],
        "schemaVersion": 39,
        "refresh": "5s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": [_panel(index, *row) for index, row in enumerate(rows)],
    }


def _panel(index: int, title: str, expression: str, unit: str) -> KubeObject:
    return {
        "id": index + 1,
        "type": "timeseries",
        "title": title,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": index % 2 * WIDTH, "y": index // 2 * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "targets": [{"refId": "A", "expr": expression, "legendFormat": "{{region}}{{stage}}{{type}}"}],
    }
