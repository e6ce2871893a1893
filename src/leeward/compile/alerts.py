"""What a person is woken for: symptoms, each with the page that says what to do.

The thresholds are the application's own objectives. Metrics are those the agents show, and the requests': from the
Envoy beside the service where there is one, else from the region's gateway.
"""

from dataclasses import dataclass

from leeward.compile.objects import KubeObject
from leeward.compile.site import Site
from leeward.compile.target import SYSTEM_NAMESPACE
from leeward.spec.application import Application

CRITICAL, WARNING, INFO = "critical", "warning", "info"
DRILL_EVERY_DAYS = 100


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert, and its section in the runbook."""

    name: str
    expression: str
    wait: str
    """How long it must hold."""
    severity: str
    summary: str
    remedy: str
    """What to do, in Markdown."""


def alerts(site: Site, application: Application, runbooks: str) -> list[KubeObject]:
    """Return the groups of rules."""
    app = application.metadata.name
    rules = [
        {
            "alert": alert.name,
            "expr": alert.expression,
            "for": alert.wait,
            "labels": {"severity": alert.severity, "application": app},
            "annotations": {
                "summary": alert.summary,
                "description": f"{alert.summary}. {{{{ $value }}}} now; leeward status --show-conditions says why.",
                "runbook_url": f"{runbooks}/alerts#{alert.name.lower()}",
            },
        }
        for alert in alerts_of(application, site.region.name)
    ]
    return [{"name": f"leeward-{app}", "interval": "15s", "rules": rules}]


def alerts_of(application: Application, here: str) -> tuple[Alert, ...]:
    """Return an application's alerts, as they are called in the region ``here``."""
    app, objectives = application.metadata.name, application.spec.objectives
    of = f'application="{app}"'
    budget = 1 - (objectives.availability or 99.9) / 100
    counter, chosen = requests(application)
    bad = f'sum(rate({counter}_xx{{{chosen},envoy_response_code_class="5"}}[5m]))'
    every = f"sum(rate({counter}_xx{{{chosen}}}[5m]))"
    found = [
        Alert(
            "LeewardNoPrimary",
            f"sum(leeward_primary{{{of}}}) == 0 or absent(leeward_primary{{{of}}})",
            _whole(objectives.rto_s),
            CRITICAL,
            f"{app} has no primary for longer than its RTO of {objectives.rto_s:g} s",
            "`PrimaryWritable` and `Stalled` say what it waits for: a majority of regions, a replica that may not be"
            " missed, an operator who paused. Bring regions back, or decide: [manual-failover](manual-failover.md).",
        ),
        Alert(
            "LeewardReplicationLag",
            f"max(leeward_replication_lag_seconds{{{of}}}) > {max(objectives.rpo_s, 1):g}",
            "1m",
            CRITICAL,
            f"{app}'s standbys are behind by more than the RPO of {objectives.rpo_s:g} s",
            "The loss of the primary's region would now cost more than was agreed. Look at the link, the standby's disk"
            " and the load of writes; see [automated-failover](automated-failover.md) for what would happen.",
        ),
        Alert(
            "LeewardFailedOver",
            f"changes(leeward_epoch{{{of}}}[15m]) > 0",
            "0m",
            WARNING,
            f"{app}'s primary has moved; it may have to be taken home",
            "Nothing is broken by this alone. `leeward records` says why; then [failback](failback.md).",
        ),
        Alert(
            "LeewardRegionLost",
            # A Prometheus in each region knows one agent's view, one for the fleet knows all of them.
            "avg by (region) (leeward_region_serving) < 0.5",
            "1m",
            CRITICAL,
            "most of those who watch it see a region not serving",
            "Its primaries move by themselves: [automated-failover](automated-failover.md). Find out with the provider"
            " what became of the region; until it is back the loss of another one may stop everything.",
        ),
        Alert(
            "LeewardQuorumUnheard",
            "leeward_quorum_age_seconds > 10",
            "0m",
            CRITICAL,
            f"{here} has not heard the quorum store for ten seconds",
            "The region is cut off, or a majority is gone. Ask an agent of another region; if none hears the store,"
            " bring regions back: nobody decides alone.",
        ),
        Alert(
            "LeewardPodsMissing",
            f"leeward_pods_ready{{{of}}} < 1",
            "1m",
            CRITICAL,
            f"{app} has no ready pod in a region",
            "Its users are sent to other regions. Look at the pods there (`leeward get pods`, `leeward logs`), then at"
            " [automated-failover](automated-failover.md).",
        ),
        Alert(
            "LeewardErrorBudgetBurn",
            f"{bad} / {every} > {14.4 * budget:.6g}",
            "2m",
            CRITICAL,
            f"{app} fails so many requests that the month's budget is gone within two days",
            "If one region fails them, a [failover by hand](manual-failover.md) may help; if all do, look at the"
            " service's own logs and at what was rolled out last.",
        ),
        Alert(
            "LeewardObjectivesInfeasible",
            f'max(leeward_condition{{{of},type="ObjectivesFeasible",status="False"}}) > 0',
            "10m",
            WARNING,
            f"the loss of the primary's region could not be borne as {app}'s objectives say",
            "`ObjectivesFeasible` says why: a region or a standby is missing, failover is paused (`leeward resume`), or"
            " the mode in force takes too long. Nothing is lost yet.",
        ),
        Alert(
            "LeewardDrillOverdue",
            f"time() - max(leeward_drill_last_success_timestamp_seconds{{{of}}}) > {DRILL_EVERY_DAYS * 86400}",
            "1h",
            INFO,
            f"no drill of {app} has passed for more than {DRILL_EVERY_DAYS} days",
            "[Drill](drill.md), and keep the report.",
        ),
    ]
    if application.spec.service.probes.deep is not None:
        found.append(
            Alert(
                "LeewardDeepHealthFailing",
                f"leeward_deep_healthy{{{of}}} < 1",
                "5m",
                WARNING,
                f"{app} says in a region that it cannot do all its work",
                "The first lines of `leeward status` name the reason. It moves nobody by itself: if it is one region's"
                " own trouble and users notice, a [failover by hand](manual-failover.md) takes the primary away.",
            )
        )
    return tuple(found)


def requests(application: Application) -> tuple[str, str]:
    """Return what the names of an application's request metrics begin with, and the labels that choose them."""
    if application.spec.sidecars.envoy is not None:
        return "envoy_cluster_upstream_rq", f'namespace="{application.namespace}",envoy_cluster_name="service"'
    return "envoy_http_downstream_rq", f'namespace="{SYSTEM_NAMESPACE}",envoy_http_conn_manager_prefix="users"'


def _whole(seconds: float) -> str:
    """Return a duration as Prometheus writes it."""
    return f"{max(1, round(seconds))}s"
