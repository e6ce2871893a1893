"""What Prometheus scrapes, made anew from the machine's state at each scrape: nothing is counted twice."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from leeward.agent.machine import Machine


def exposition(machine: Machine, now_s: float) -> bytes:
    """Return the metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Collector(machine, now_s))
    return generate_latest(registry)


class _Collector:
    def __init__(self, machine: Machine, now_s: float) -> None:
        self._machine = machine
        self._now_s = now_s

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        machine, now_s = self._machine, self._now_s
        lease = GaugeMetricFamily("leeward_lease_remaining_seconds", "What is left of this region's lease")
        lease.add_metric([], max(0.0, machine.lease_until_s - now_s))
        yield lease
        age = GaugeMetricFamily("leeward_quorum_age_seconds", "Since the quorum store was last heard")
        age.add_metric([], now_s - machine.store.heard_at_s)
        yield age
        serving = GaugeMetricFamily(
            "leeward_region_serving", "1 when this region sees the other one serving", labels=["region"]
        )
        for region, vantage in machine.vantages.items():
            serving.add_metric([region], float(vantage.serving))
        yield serving
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
