"""What a person is woken for: symptoms, each with the page that says what to do.

The thresholds are the application's own objectives. Metrics are those the agents show, and the requests': from the
Envoy beside the service where there is one, else from the region's gateway.
"""

from leeward.compile.objects import KubeObject
from leeward.compile.site import Site
from leeward.compile.target import SYSTEM_NAMESPACE
from leeward.spec.application import Application

CRITICAL, WARNING = "critical", "warning"


def alerts(site: Site, application: Application, runbooks: str) -> list[KubeObject]:
    """Return the groups of rules."""
    app, objectives = application.metadata.name, application.spec.objectives
    of = f'application="{app}"'
    budget = 1 - (objectives.availability or 99.9) / 100
    counter, chosen = requests(application)
    bad = f'sum(rate({counter}_xx{{{chosen},envoy_response_code_class="5"}}[5m]))'
    every = f"sum(rate({counter}_xx{{{chosen}}}[5m]))"
    rows = [
        (
            "LeewardNoPrimary",
            f"sum(leeward_primary{{{of}}}) == 0 or absent(leeward_primary{{{of}}})",
            _whole(objectives.rto_s),
            CRITICAL,
            f"{app} has no primary for longer than its RTO of {objectives.rto_s:g} s",
            "manual-failover",
        ),
        (
            "LeewardReplicationLag",
            f"max(leeward_replication_lag_seconds{{{of}}}) > {max(objectives.rpo_s, 1):g}",
            "1m",
            CRITICAL,
            f"{app}'s standbys are behind by more than the RPO of {objectives.rpo_s:g} s",
            "automated-failover",
        ),
        (
            "LeewardFailedOver",
            f"changes(leeward_epoch{{{of}}}[15m]) > 0",
            "0m",
            WARNING,
            f"{app}'s primary has moved; it may have to be taken home",
            "failback",
        ),
        (
            "LeewardRegionLost",
            # A Prometheus in each region knows one agent's view, one for the fleet knows all of them.
            "avg by (region) (leeward_region_serving) < 0.5",
            "1m",
            CRITICAL,
            "most of those who watch it see a region not serving",
            "automated-failover",
        ),
        (
            "LeewardQuorumUnheard",
            "leeward_quorum_age_seconds > 10",
            "0m",
            CRITICAL,
            f"{site.region.name} has not heard the quorum store for ten seconds",
            "automated-failover",
        ),
        (
            "LeewardPodsMissing",
            f"leeward_pods_ready{{{of}}} < 1",
            "1m",
            CRITICAL,
            f"{app} has no ready pod in a region",
            "automated-failover",
        ),
        (
            "LeewardErrorBudgetBurn",
            f"{bad} / {every} > {14.4 * budget:.6g}",
            "2m",
            CRITICAL,
            f"{app} fails so many requests that the month's budget is gone within two days",
            "manual-failover",
        ),
    ]
    rules = [
        {
            "alert": name,
            "expr": expression,
            "for": wait,
            "labels": {"severity": severity, "application": app},
            "annotations": {
                "summary": summary,
                "description": f"{summary}. {{{{ $value }}}} now; leeward status --watch shows why.",
                "runbook_url": f"{runbooks}/{page}",
            },
        }
        for name, expression, wait, severity, summary, page in rows
    ]
    return [{"name": f"leeward-{app}", "interval": "15s", "rules": rules}]


def requests(application: Application) -> tuple[str, str]:
    """Return what the names of an application's request metrics begin with, and the labels that choose them."""
    if application.spec.sidecars.envoy is not None:
        return "envoy_cluster_upstream_rq", f'namespace="{application.namespace}",envoy_cluster_name="service"'
    return "envoy_http_downstream_rq", f'namespace="{SYSTEM_NAMESPACE}",envoy_http_conn_manager_prefix="users"'


def _whole(seconds: float) -> str:
    """Return a duration as Prometheus writes it."""
    return f"{max(1, round(seconds))}s"
