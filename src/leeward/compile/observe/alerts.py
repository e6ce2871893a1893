"""Paging alerts: symptoms, each with the runbook page that describes what to do.

The thresholds are the application's own objectives. Metrics are those the agents show, and the requests': from the
Envoy beside the service where there is one, else from the region's gateway.
"""

from dataclasses import dataclass

from leeward.compile.kube.objects import KubeObject
from leeward.compile.region.identity import has_instance
from leeward.compile.site import Site
from leeward.compile.target import SYSTEM_NAMESPACE
from leeward.core.store_members import OLD_PERIODS
from leeward.core.store_space import FILLING
from leeward.spec.application import Application

CRITICAL, WARNING, INFO = "critical", "warning", "info"
DRILL_EVERY_DAYS = 100
GATEWAY_NEARLY_FULL = 0.8
OF_INSTANCES = frozenset(
    (
        *("LeewardNoPrimary", "LeewardReplicationLag", "LeewardFailedOver", "LeewardFailoverNeedless"),
        *("LeewardFailoverWithheld", "LeewardDiskFilling", "LeewardDurabilityNotAsPromised", "LeewardDrillOverdue"),
        "LeewardObjectivesInfeasible",
    )
)
"""About a database that Leeward's instance manager owns. Of others they would never fire, or always."""
GATEWAY_REFUSED = ("envoy_listener_ssl_fail_verify_error", "envoy_listener_ssl_fail_verify_san")
"""Envoy's counters of clients whose certificate it did not accept: of another authority, or with another name.

Those without a certificate are in ``envoy_listener_ssl_fail_verify_no_cert``: the region's agent is one, each time that
it looks at the gateway's certificate.
"""


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
                "description": f"{alert.summary}. {{{{ $value }}}} now; leeward status --show-conditions shows why.",
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
    at_the_gateway = [f'increase({each}{{namespace="{SYSTEM_NAMESPACE}"}}[15m])' for each in GATEWAY_REFUSED]
    found = [
        Alert(
            "LeewardNoPrimary",
            f"sum(leeward_primary{{{of}}}) == 0 or absent(leeward_primary{{{of}}})",
            _whole(objectives.rto_s),
            CRITICAL,
            f"{app} has no primary for longer than its RTO of {objectives.rto_s:g} s",
            "`PrimaryWritable` and `Stalled` show what it waits for: a majority of regions, a replica that is required"
            " but missing, an operator's pause. Restore regions, or act: [manual-failover](manual-failover.md).",
        ),
        Alert(
            "LeewardReplicationLag",
            f"max(leeward_replication_lag_seconds{{{of}}}) > {max(objectives.rpo_s, 1):g}",
            "1m",
            CRITICAL,
            f"{app}'s standbys are behind by more than the RPO of {objectives.rpo_s:g} s",
            "A loss of the primary's region would now lose more than the RPO allows. Check the link, the standby's disk"
            " and the write load; [automated-failover](automated-failover.md) describes what would happen.",
        ),
        Alert(
            "LeewardFailedOver",
            f"changes(leeward_epoch{{{of}}}[15m]) > 0",
            "0m",
            WARNING,
            f"{app}'s primary has moved; a failback may be needed",
            "This alone is not a fault. `leeward records` shows why it moved; then see [failback](failback.md).",
        ),
        Alert(
            "LeewardFailoverNeedless",
            f"max(increase(leeward_needless_failovers_total{{{of}}}[1h])) > 0",
            "0m",
            INFO,
            f"{app} failed over, and the lost region came back unchanged within a minute",
            "A machine froze or was cut off for a moment. `leeward records` shows for how long, and what it cost."
            " With a longer `objectives.rto`, Leeward waits longer.",
        ),
        Alert(
            "LeewardFailoverWithheld",
            f"max(increase(leeward_failovers_withheld_total{{{of}}}[15m])) > 0",
            "0m",
            CRITICAL,
            f"{app} would have failed over, but its files set failover: observe",
            "Nothing was changed. `leeward status` shows whether the primary is back; if not:"
            " [manual-failover](manual-failover.md).",
        ),
        Alert(
            "LeewardRegionLost",
            # A Prometheus in each region knows one agent's view, one for the fleet knows all of them.
            "avg by (region) (leeward_region_serving) < 0.5",
            "1m",
            CRITICAL,
            "most regions see another region not serving",
            "Its primaries fail over automatically: [automated-failover](automated-failover.md). Ask the provider"
            " about the region's state; until it is back, the loss of another region may stop everything.",
        ),
        Alert(
            "LeewardQuorumUnheard",
            "leeward_quorum_age_seconds > 10",
            "0m",
            CRITICAL,
            f"{here} has not heard from the quorum store for ten seconds",
            "The region is cut off, or a majority is lost. Query an agent of another region; if none reaches the store,"
            " restore regions: no decision is made without a majority.",
        ),
        Alert(
            "LeewardStoreBackupOld",
            f"time() - leeward_store_backup_timestamp_seconds > {OLD_PERIODS} * leeward_store_backup_period_seconds",
            "5m",
            WARNING,
            f"{here} has no recent checked backup of the quorum store",
            "`StoreBackedUp` shows why the last attempt failed, and whether another region has one: one is enough"
            " for a restore. Check the agent's log and the volume `leeward-backups` (full, or not attached)."
            " Nothing is lost as long as a majority of members keeps its data.",
        ),
        Alert(
            "LeewardStoreFilling",
            f"leeward_store_db_bytes > {FILLING:g} * leeward_store_quota_bytes",
            "5m",
            CRITICAL,
            f"the quorum store's database in {here} is about to reach its quota",
            "At the quota no write is accepted, leases end and primaries stop. `StoreHasRoom` shows each member."
            " Agents compact and defragment what is mostly free, and then lift the alarm. If the size stays, live"
            " data fills it: divide the fleet's applications among two fleets. By hand: docs/concepts/store.md.",
        ),
        Alert(
            "LeewardCertificateExpiring",
            "leeward_certificate_expiry_timestamp_seconds - time() < leeward_certificate_renewal_overdue_seconds",
            "5m",
            CRITICAL,
            f"a certificate of {here} is overdue for renewal",
            "`CertificatesValid` names the region and the certificate. Its issuer (cert-manager, your own tool)"
            " renews it when a third of its life is left: check it, then the Secret with the certificate. A renewed one"
            " is used without a restart, as soon as the kubelet has put it into the pods. How an authority"
            " (`...-authority`) is exchanged: docs/concepts/certificates.md. After expiry, open connections continue"
            " and new ones are refused: restart nothing before it is renewed.",
        ),
        Alert(
            "LeewardClientsRefused",
            "sum by (server, reason) (increase(leeward_clients_refused_total[15m])) > 0"
            f" or sum by (envoy_listener_address) ({' + '.join(at_the_gateway)}) > 0",
            "10m",
            WARNING,
            f"a server of {here} goes on refusing clients for their certificates",
            "The log of the agent, or of the instance manager that `server` names, has a line `client refused` for each"
            " client, reason and minute: the address, the names in the certificate that was presented, and why. The"
            " gateway's port is counted by Envoy and logs nothing. `expired` and `wrong-authority` from an address of"
            " yours are a process that was missed in a renewal or in the exchange of an authority"
            " (docs/concepts/certificates.md). Others are strangers: close the ports between regions to them.",
        ),
        Alert(
            "LeewardPodsMissing",
            f"leeward_pods_ready{{{of}}} < 1",
            "1m",
            CRITICAL,
            f"{app} has no ready pod in a region",
            "Its users are sent to other regions. Check the pods there (`leeward get pods`, `leeward logs`), then see"
            " [automated-failover](automated-failover.md).",
        ),
        Alert(
            "LeewardDiskFilling",
            f'max(leeward_condition{{{of},type="DiskHasRoom",status="False"}}) > 0',
            "5m",
            CRITICAL,
            f"the volume of {app}'s database in a region has less than 10 % free",
            "`DiskHasRoom` shows where and how much. Enlarge the volume (`database.storage`, and the claim where the"
            " storage class can grow one), or delete what is not needed. WAL for a replica that is away takes up to"
            " `database.walRetention` percent of the room: lower it, or bring the replica back. A primary without room"
            " for WAL stops, and another region takes over; without room for tables it stays, and statements fail.",
        ),
        Alert(
            "LeewardGatewayOverflow",
            f"increase(leeward_gateway_overflows_total{{{of}}}[5m]) > 0"
            f" or leeward_gateway_limit_used_ratio{{{of}}} > {GATEWAY_NEARLY_FULL:g}",
            "1m",
            CRITICAL,
            f"a region's gateway refuses connections or requests of {app}, or is about to",
            "Each of its clusters carries 1024 connections and 4096 requests. `GatewaysConnected` names the full one:"
            " `pods` and `local` are users' load here (more pods or a smaller pool of sessions), `http`, `postgres` and"
            " `spare` traffic to another region, `late` sessions from others. Usage that grows while users do not is a"
            " leak: restart the gateway's container, one region after the other, and report it.",
        ),
        Alert(
            "LeewardGatewayPathBroken",
            f'max(leeward_condition{{{of},type="GatewaysConnected",status="False"}}) > 0',
            "1m",
            CRITICAL,
            f"a region's gateway does not answer users, or does not carry {app}'s traffic to another region",
            "`GatewaysConnected` shows from where, to where and why. `UsersUnanswered`: DNS omits the region; the"
            " gateway's container is restarted unless it is only full, which ends when idle users' connections do"
            " (60 s). `PathBroken`: the region does not count as READY: writes of its"
            " users, and replication from it, may not arrive. Check the gateway's log and the link between the two"
            " regions (port 8443); certificates that expired show here too. Restarting the gateway's container loses"
            " the sessions through it and nothing else.",
        ),
        Alert(
            "LeewardDurabilityNotAsPromised",
            f'max(leeward_condition{{{of},type="DurabilityAsPromised",status="False"}}) > 0',
            "1m",
            WARNING,
            f"commits of {app} return before they are as durable as its replication mode promises",
            "`DurabilityAsPromised` names the database, the role or the client that sets `synchronous_commit` below"
            " `on`. Reset it there (`ALTER DATABASE ... RESET synchronous_commit`, or `ALTER ROLE`): until then"
            " a failover can lose those commits, in `sync` and `quorum` too.",
        ),
        Alert(
            "LeewardErrorBudgetBurn",
            f"{bad} / {every} > {14.4 * budget:.6g}",
            "2m",
            CRITICAL,
            f"{app} fails so many requests that the month's error budget will be used up within two days",
            "If only one region fails them, a [manual failover](manual-failover.md) may help; if all do, check the"
            " service's own logs and the latest rollout.",
        ),
        Alert(
            "LeewardObjectivesInfeasible",
            f'max(leeward_condition{{{of},type="ObjectivesFeasible",status="False"}}) > 0',
            "10m",
            WARNING,
            f"a loss of the primary's region would miss {app}'s objectives",
            "`ObjectivesFeasible` shows why: a region or a standby is missing, failover is paused (`leeward resume`),"
            " or failover in the mode in force takes too long. Nothing is lost yet.",
        ),
        Alert(
            "LeewardDrillOverdue",
            f"time() - max(leeward_drill_last_success_timestamp_seconds{{{of}}}) > {DRILL_EVERY_DAYS * 86400}",
            "1h",
            INFO,
            f"no drill of {app} has passed for more than {DRILL_EVERY_DAYS} days",
            "Run a [drill](drill.md), and keep the report.",
        ),
    ]
    if application.spec.service.probes.deep is not None:
        found.append(
            Alert(
                "LeewardDeepHealthFailing",
                f"leeward_deep_healthy{{{of}}} < 1",
                "5m",
                WARNING,
                f"{app} reports in a region that it cannot do all its work",
                "The first lines of `leeward status` show the reason. Leeward moves no traffic for it: if only"
                " one region is affected and users notice, a [manual failover](manual-failover.md) moves the primary.",
            )
        )
    return tuple(alert for alert in found if has_instance(application) or alert.name not in OF_INSTANCES)


def requests(application: Application) -> tuple[str, str]:
    """Return what the names of an application's request metrics begin with, and the labels that choose them."""
    if application.spec.sidecars.envoy is not None:
        return "envoy_cluster_upstream_rq", f'namespace="{application.namespace}",envoy_cluster_name="service"'
    return "envoy_http_downstream_rq", f'namespace="{SYSTEM_NAMESPACE}",envoy_http_conn_manager_prefix="users"'


def _whole(seconds: float) -> str:
    """Return a duration as Prometheus writes it."""
    return f"{max(1, round(seconds))}s"
