"""What Prometheus scrapes, made anew from the machine's state at each scrape: nothing is counted twice."""

from collections.abc import Iterator, Mapping
from importlib.metadata import version

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from leeward.agent.conditions import facts
from leeward.agent.deep import DeepHealth
from leeward.agent.machine import Machine
from leeward.core import failovers
from leeward.core.conditions.judge import conditions
from leeward.core.conditions.values import Status
from leeward.core.values import App

VERSION = version("leeward")


def exposition(machine: Machine, now_s: float, deep: Mapping[App, DeepHealth]) -> bytes:
    """Return the metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Collector(machine, now_s, deep))
    return generate_latest(registry)


class _Collector:
    def __init__(self, machine: Machine, now_s: float, deep: Mapping[App, DeepHealth]) -> None:
        self._machine = machine
        self._now_s = now_s
        self._deep = deep

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield from self._of_the_agent()
        yield from self._of_the_databases()
        yield from self._of_the_applications()

    def _of_the_agent(self) -> Iterator[Metric]:
        machine, now_s = self._machine, self._now_s
        build = GaugeMetricFamily("leeward_build_info", "Always 1; says which version runs", labels=["version"])
        build.add_metric([VERSION], 1)
        yield build
        lease = GaugeMetricFamily("leeward_lease_remaining_seconds", "What is left of this region's lease")
        lease.add_metric([], max(0.0, machine.lease_until_s - now_s))
        yield lease
        age = GaugeMetricFamily("leeward_quorum_age_seconds", "Since the quorum store was last heard")
        age.add_metric([], now_s - machine.store.heard_at_s)
        yield age
        revision = GaugeMetricFamily("leeward_quorum_revision", "The revision of the quorum store that was heard last")
        revision.add_metric([], machine.store.revision)
        yield revision
        serving = GaugeMetricFamily(
            "leeward_region_serving", "1 when this region sees the other one serving", labels=["region"]
        )
        for region, vantage in machine.vantages.items():
            serving.add_metric([region], float(vantage.serving))
        yield serving

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
            if app.instance is not None and app.instance.wal is not None:
                for sender in app.instance.senders:
                    behind = max(0, app.instance.wal.lsn - sender.flushed_lsn)
                    lag_bytes.add_metric([name, sender.region], behind)
        yield from (epoch, primary, lag, lag_bytes, pods)

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
            "1 when a pod of this region said last that it can do all its work",
            labels=["application"],
        )
        condition = GaugeMetricFamily(
            "leeward_condition", "1 for the status that a condition has", labels=["application", "type", "status"]
        )
        for name, app in machine.apps.items():
            last = failovers.last((record for _, record in machine.store.records), name, machine.me)
            for each, took_s in (last.stages_s if last else {}).items():
                stage.add_metric([name, each], took_s)
            known = machine.store.drills.get(name)
            if known is not None and known.passed_at_unix_s is not None:
                drill.add_metric([name], known.passed_at_unix_s)
            if name in self._deep:
                healthy.add_metric([name], float(self._deep[name].healthy))
            for found in conditions(facts(machine, app, self._now_s)):
                for status in Status:
                    condition.add_metric([name, found.type, status], float(found.status is status))
        yield from (stage, drill, healthy, condition)
