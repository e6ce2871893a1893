"""What Prometheus scrapes, built from the machine's state at each scrape: nothing is counted twice."""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from itertools import accumulate, chain
from types import MappingProxyType

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from leeward.agent.machine.machine import Machine
from leeward.agent.machine.visibility import shows
from leeward.agent.services.conditions import NONE, facts
from leeward.agent.services.deep_health import DeepHealth
from leeward.core import failovers
from leeward.core.conditions.certificate_conditions import Known
from leeward.core.conditions.judge import conditions
from leeward.core.conditions.values import Status
from leeward.core.delays import BOUNDS_S
from leeward.core.store_members import StoreMember
from leeward.core.values import App, Tally

VERSION = version("leeward")
Refused = Mapping[str, Mapping[str, int]]


def exposition(
    machine: Machine,
    now_s: float,
    deep: Mapping[App, DeepHealth],
    certificates: Known = NONE,
    refused: Refused = MappingProxyType({}),
    apps: frozenset[App] | None = None,
) -> bytes:
    """Return the metrics in Prometheus' text format.

    ``certificates``: by region, as agents report theirs. ``refused``: how many clients each server of this region
    refused, by reason. ``apps``: whose samples; None: all.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(machine, now_s, deep, certificates, refused, apps))
    return generate_latest(registry)


class _Collector:
    def __init__(
        self,
        machine: Machine,
        now_s: float,
        deep: Mapping[App, DeepHealth],
        certificates: Known,
        refused: Refused,
        apps: frozenset[App] | None,
    ) -> None:
        self._machine = machine
        self._refused = refused
        self._apps = apps
        self._certificates = certificates
        self._now_s = now_s
        self._deep = deep

    def collect(self) -> Iterator[Metric]:
        """Yield every family, with the samples that are asked for."""
        for family in chain(self._of_the_agent(), self._of_the_databases(), self._of_the_applications()):
            family.samples = [sample for sample in family.samples if shows(sample.labels, self._apps)]
            yield family

    def _of_the_agent(self) -> Iterator[Metric]:
        machine, now_s = self._machine, self._now_s
        build = GaugeMetricFamily(
            "leeward_build_info", "Always 1; the labels show which version runs", labels=["version"]
        )
        build.add_metric([VERSION], 1)
        yield build
        lease = GaugeMetricFamily("leeward_lease_remaining_seconds", "Time left of this region's lease")
        lease.add_metric([], max(0.0, machine.lease_until_s - now_s))
        yield lease
        age = GaugeMetricFamily("leeward_quorum_age_seconds", "Time since the quorum store was last heard from")
        age.add_metric([], now_s - machine.store.heard_at_s)
        yield age
        revision = GaugeMetricFamily(
            "leeward_quorum_revision", "The latest revision of the quorum store that this agent has seen"
        )
        revision.add_metric([], machine.store.revision)
        yield revision
        yield from self._of_the_store()
        yield from self._of_the_certificates()
        yield self._of_the_refused()
        serving = GaugeMetricFamily(
            "leeward_region_serving", "1 when this region sees the other one serving", labels=["region"]
        )
        for region, vantage in machine.vantages.items():
            serving.add_metric([region], float(vantage.serving))
        yield serving
        delay = HistogramMetricFamily(
            "leeward_heartbeat_delay_seconds",
            "How long a region was silent between two heartbeats; kept over restarts of the agent",
            labels=["region"],
        )
        for region, found in machine.delays.regions.items():
            counts = zip((*map(str, BOUNDS_S), "+Inf"), accumulate(found.counts), strict=True)
            delay.add_metric([region], [(bound, count) for bound, count in counts], found.observed_s)
        yield delay

    def _of_the_store(self) -> Iterator[Metric]:
        machine = self._machine
        wanted, member = machine.settings.store, machine.store_members.get(machine.me, StoreMember())
        backup = GaugeMetricFamily(
            "leeward_store_backup_timestamp_seconds",
            "When the newest checked backup of the quorum store in this region was made; 0: no backup exists",
        )
        period = GaugeMetricFamily("leeward_store_backup_period_seconds", "How often a backup is due")
        if wanted is not None:
            backup.add_metric([], member.backup_at_unix_s or 0.0)
            period.add_metric([], wanted.backup_every_s)
        size = GaugeMetricFamily(
            "leeward_store_db_bytes", "The size of this region's member's file, free pages included"
        )
        used = GaugeMetricFamily("leeward_store_in_use_bytes", "The part of that file that is not free")
        quota = GaugeMetricFamily("leeward_store_quota_bytes", "The size of the file at which writes are refused")
        if member.db_bytes:
            size.add_metric([], member.db_bytes)
            used.add_metric([], member.in_use_bytes)
            quota.add_metric([], member.quota_bytes)
        yield from (backup, period, size, used, quota)

    def _of_the_certificates(self) -> Iterator[Metric]:
        expiry = GaugeMetricFamily(
            "leeward_certificate_expiry_timestamp_seconds",
            "When a certificate that this region shows or trusts expires",
            labels=["certificate"],
        )
        late = GaugeMetricFamily(
            "leeward_certificate_renewal_overdue_seconds",
            "Time before a certificate's expiry from which on its renewal counts as overdue",
            labels=["certificate"],
        )
        for each in self._certificates.get(self._machine.me, ()):
            expiry.add_metric([each.name], each.not_after_unix_s)
            late.add_metric([each.name], each.late_s)
        yield from (expiry, late)

    def _of_the_refused(self) -> Metric:
        refused = CounterMetricFamily(
            "leeward_clients_refused",
            "Clients that a server of this region refused for their certificate, or since they spoke no TLS",
            labels=["server", "reason"],
        )
        for server, counts in self._refused.items():
            for reason, count in counts.items():
                refused.add_metric([server, reason], count)
        return refused

    def _of_the_databases(self) -> Iterator[Metric]:
        machine, now_s = self._machine, self._now_s
        epoch = GaugeMetricFamily("leeward_epoch", "The epoch in force", labels=["application"])
        primary = GaugeMetricFamily(
            "leeward_primary", "1 for the region that is primary", labels=["application", "region"]
        )
        lag = GaugeMetricFamily(
            "leeward_replication_lag_seconds", "How far a standby is behind", labels=["application", "region"]
        )
        lag_bytes = GaugeMetricFamily(
            "leeward_replication_lag_bytes", "How much WAL a standby lacks", labels=["application", "region"]
        )
        free = GaugeMetricFamily(
            "leeward_disk_free_bytes", "Free space of the volume of this region's database", labels=["application"]
        )
        size = GaugeMetricFamily(
            "leeward_disk_size_bytes", "The size of the volume of this region's database", labels=["application"]
        )
        pods = GaugeMetricFamily("leeward_pods_ready", "Ready pods of this region", labels=["application"])
        for name, app in machine.apps.items():
            pods.add_metric([name], len(app.pods))
            stored = machine.store.topologies.get(name)
            if stored is not None:
                epoch.add_metric([name], stored.topology.epoch)
                for region in stored.topology.data_regions:
                    primary.add_metric([name, region], float(region == stored.topology.primary))
            for region, lag_s in app.lags_s(now_s).items():
                lag.add_metric([name, region], lag_s)
            if app.instance is not None and app.instance.disk is not None:
                free.add_metric([name], app.instance.disk.free_bytes)
                size.add_metric([name], app.instance.disk.size_bytes)
            if app.instance is not None and app.instance.wal is not None:
                for sender in app.instance.senders:
                    behind = max(0, app.instance.wal.lsn - sender.flushed_lsn)
                    lag_bytes.add_metric([name, sender.region], behind)
        yield from (epoch, primary, lag, lag_bytes, free, size, pods)
        yield from self._of_the_gateway()

    def _of_the_gateway(self) -> Iterator[Metric]:
        # Envoy's own statistics have the clusters' names in theirs: no alert can ask for all of them.
        overflows = CounterMetricFamily(
            "leeward_gateway_overflows",
            "Connections and requests that this region's gateway refused because a limit was reached",
            labels=["application"],
        )
        used = GaugeMetricFamily(
            "leeward_gateway_limit_used_ratio",
            "The part of its limit that the fullest cluster of this region's gateway uses",
            labels=["application"],
        )
        for name, app in self._machine.apps.items():
            overflows.add_metric([name], app.carried.overflows)
            used.add_metric([name], app.carried.limit_used)
        yield from (overflows, used)

    def _of_the_applications(self) -> Iterator[Metric]:
        machine = self._machine
        stage = GaugeMetricFamily(
            "leeward_failover_stage_duration_seconds",
            "How long each stage of the last failover took; the epoch in force is another metric",
            labels=["application", "stage"],
        )
        drill = GaugeMetricFamily(
            "leeward_drill_last_success_timestamp_seconds", "When a drill passed last", labels=["application"]
        )
        healthy = GaugeMetricFamily(
            "leeward_deep_healthy",
            "1 when a pod of this region last reported that it can do all its work",
            labels=["application"],
        )
        condition = GaugeMetricFamily(
            "leeward_condition", "1 for the status that a condition has", labels=["application", "type", "status"]
        )
        needless = CounterMetricFamily(
            "leeward_needless_failovers",
            "Failovers whose deposed primary came back unchanged within a minute",
            labels=["application"],
        )
        withheld = CounterMetricFamily(
            "leeward_failovers_withheld",
            "Failovers that were decided and not started: failover is observed only",
            labels=["application"],
        )
        for name, app in machine.apps.items():
            last = failovers.last((record for _, record in machine.store.records), name, machine.me)
            for each, took_s in (last.stages_s if last else {}).items():
                stage.add_metric([name, each], took_s)
            known = machine.store.drills.get(name)
            if known is not None and known.passed_at_unix_s is not None:
                drill.add_metric([name], known.passed_at_unix_s)
            counted, _ = machine.store.tallies.get(name, (Tally(), 0))
            needless.add_metric([name], counted.needless)
            withheld.add_metric([name], counted.withheld)
            if name in self._deep:
                healthy.add_metric([name], float(self._deep[name].healthy))
            for found in conditions(facts(machine, app, self._now_s, self._certificates)):
                for status in Status:
                    condition.add_metric([name, found.type, status], float(found.status is status))
        yield from (stage, drill, healthy, condition, needless, withheld)
