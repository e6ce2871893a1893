"""The horizontal autoscaler: as many pods as their CPU use against their requests calls for.

Kept simple: CPU only, stabilization windows of ``behavior`` but not its policies.
"""

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from leeward.base.units import parse_quantity
from leeward.kit.loops import repeat
from leeward.ports.cluster import HORIZONTAL_POD_AUTOSCALERS, PODS, KubeObject
from leeward.world.kubernetes import proctree
from leeward.world.kubernetes.pods import condition, is_ready
from leeward.world.kubernetes.recorder import Recorder
from leeward.world.kubernetes.registry import Registry
from leeward.world.kubernetes.runner import PodRunner
from leeward.world.kubernetes.selectors import labels_of, matches_selector
from leeward.world.kubernetes.store import now_text

SYNC_S = 2.0
TOLERANCE = 0.1
STABILIZATION_DOWN_S = 300.0
MEASURED = "ValidMetricFound"


class CpuMeter:
    """CPU cores used by pods since the last reading."""

    def __init__(self, runner: PodRunner) -> None:
        self._runner = runner
        self._read_at_s: float | None = None
        self._last: dict[int, float] = {}

    def read(self, pods: list[KubeObject], now_s: float) -> dict[str, float]:
        """Return the cores each pod used since the last call, by uid; nothing at the first one."""
        trees = proctree.cpu_by_root()
        since_s, self._read_at_s = self._read_at_s, now_s
        before, self._last = self._last, {pid: cpu for tree in trees.values() for pid, cpu in tree.items()}
        if since_s is None or now_s <= since_s:
            return {}
        used: dict[str, float] = {}
        for pod in pods:
            processes = [item for root in self._runner.root_pids(pod) for item in trees.get(root, {}).items()]
            cpu_s = sum(max(0.0, cpu - before.get(pid, 0.0)) for pid, cpu in processes)
            if processes:
                used[pod["metadata"]["uid"]] = cpu_s / (now_s - since_s)
        return used


@dataclass(slots=True)
class _Memory:
    """What one autoscaler recommended lately: time and replicas."""

    recommended: deque[tuple[float, int]] = field(default_factory=deque)


class Autoscaler:
    """Follows every HorizontalPodAutoscaler of the store."""

    def __init__(self, registry: Registry, runner: PodRunner) -> None:
        self._registry = registry
        self._store = registry.store
        self._recorder = Recorder(registry, "horizontal-pod-autoscaler")
        self._meter = CpuMeter(runner)
        self._memories: dict[str, _Memory] = {}

    async def run(self) -> None:
        """Measure and scale, until cancelled."""
        await repeat("scale", self._look, every_s=SYNC_S)

    def _look(self) -> None:
        scalers = self._store.list(HORIZONTAL_POD_AUTOSCALERS)
        if scalers:
            now_s = asyncio.get_running_loop().time()
            used = self._meter.read(list(self._store.list(PODS)), now_s)
            for item in scalers:
                self._scale(item, used, now_s)

    def _scale(self, item: KubeObject, used: dict[str, float], now_s: float) -> None:
        try:
            self._follow(item, used, now_s)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self._recorder.warning(item, "FailedGetScale", f"cannot reconcile the autoscaler: {error!r}")

    def _follow(self, item: KubeObject, used: dict[str, float], now_s: float) -> None:
        spec, namespace = item["spec"], item["metadata"]["namespace"]
        reference = spec["scaleTargetRef"]
        resource = self._registry.resource_of(reference)
        target = self._store.find(resource, namespace, reference["name"])
        if target is None:
            raise ValueError(f"{reference['kind']} {reference['name']} does not exist")
        current = int(target["spec"].get("replicas", 1))
        if current == 0 and int(spec.get("minReplicas", 1)) > 0:
            # As in Kubernetes: an explicit scale to zero is respected.
            self._report(item, 0, 0, [], used, reason="ScalingDisabled")
            return
        pods = [
            pod
            for pod in self._store.list(PODS, namespace)
            if is_ready(pod)
            and pod["metadata"]["uid"] in used
            and matches_selector(target["spec"]["selector"], labels_of(pod))
        ]
        share = _share_of_target(spec, pods, used)
        wanted = current
        if share is not None and abs(share - 1) > TOLERANCE:
            wanted = math.ceil(share * len(pods))
        wanted = self._stabilized(item, wanted, current, now_s)
        wanted = min(int(spec["maxReplicas"]), max(int(spec.get("minReplicas", 1)), wanted))
        if wanted != current:
            because = "out of bounds" if share is None else f"CPU is at {share:.0%} of its target"
            self._recorder.normal(item, "SuccessfulRescale", f"New size: {wanted}; reason: {because}")
            self._store.edit(resource, target, lambda edited: edited["spec"].update(replicas=wanted))
        reason = MEASURED if share is not None else "FailedGetResourceMetric"
        self._report(item, current, wanted, pods, used, reason=reason)

    def _stabilized(self, item: KubeObject, wanted: int, current: int, now_s: float) -> int:
        """Return the wanted size held back by the largest (down) or smallest (up) one of its window."""
        behavior = item["spec"].get("behavior") or {}
        window = {
            "up": float((behavior.get("scaleUp") or {}).get("stabilizationWindowSeconds", 0)),
            "down": float((behavior.get("scaleDown") or {}).get("stabilizationWindowSeconds", STABILIZATION_DOWN_S)),
        }
        memory = self._memories.setdefault(item["metadata"]["uid"], _Memory()).recommended
        memory.append((now_s, wanted))
        while memory[0][0] < now_s - max(window.values()):
            memory.popleft()
        if wanted < current:
            return min(current, max(size for at_s, size in memory if at_s >= now_s - window["down"]))
        return max(current, min(size for at_s, size in memory if at_s >= now_s - window["up"]))

    def _report(
        self,
        item: KubeObject,
        current: int,
        wanted: int,
        pods: list[KubeObject],
        used: dict[str, float],
        *,
        reason: str,
    ) -> None:
        before, now, measured = item.get("status", {}), now_text(), reason == MEASURED
        status: KubeObject = {
            "currentReplicas": current,
            "desiredReplicas": wanted,
            "observedGeneration": item["metadata"]["generation"],
            "conditions": [condition(before, "ScalingActive", holds=measured, reason=reason, now=now)],
        }
        if wanted != current:
            status["lastScaleTime"] = now
        elif "lastScaleTime" in before:
            status["lastScaleTime"] = before["lastScaleTime"]
        if measured:
            cores = sum(used[pod["metadata"]["uid"]] for pod in pods) / len(pods)
            requested = sum(map(_requested_cores, pods)) / len(pods)
            resource: dict[str, Any] = {"averageValue": f"{round(cores * 1000)}m"}
            if requested:
                resource["averageUtilization"] = round(100 * cores / requested)
            status["currentMetrics"] = [{"type": "Resource", "resource": {"name": "cpu", "current": resource}}]
        self._store.set_status(HORIZONTAL_POD_AUTOSCALERS, item, status)


def cores_of(quantity: Any) -> float:
    """Return a CPU quantity (``250m``, ``1``, ``0.5``) in cores."""
    return float(parse_quantity(str(quantity)))


def _requested_cores(pod: KubeObject) -> float:
    return sum(
        cores_of(((container.get("resources") or {}).get("requests") or {}).get("cpu", 0))
        for container in pod["spec"]["containers"]
    )


def _share_of_target(spec: KubeObject, pods: list[KubeObject], used: dict[str, float]) -> float | None:
    """Return CPU use as a share of the target, or None when it is unknown."""
    for metric in spec.get("metrics") or ():
        if metric.get("type") != "Resource" or metric["resource"]["name"] != "cpu" or not pods:
            continue
        target = metric["resource"]["target"]
        cores = sum(used[pod["metadata"]["uid"]] for pod in pods)
        if "averageUtilization" in target:
            wanted = sum(map(_requested_cores, pods)) * float(target["averageUtilization"]) / 100
        else:
            wanted = cores_of(target["averageValue"]) * len(pods)
        return cores / wanted if wanted else None
    return None
