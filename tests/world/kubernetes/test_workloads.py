"""Deployments, StatefulSets, the autoscaler and namespaces, on real processes."""

import asyncio
from contextlib import suppress

from leeward.adapters.kubernetes.client import KubernetesCluster
from leeward.ports.cluster import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    EVENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    NAMESPACES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    KubeObject,
)
from tests.world.kubernetes.region import (
    NAMESPACE,
    WAIT_S,
    Region,
    exists,
    is_ready,
    pid_of,
    ready,
    service,
    shell,
    so,
    until,
    workload,
)

VERSION_1 = shell("exec sleep 1000", env=[{"name": "VERSION", "value": "1"}])
VERSION_2 = shell("exec sleep 1000", env=[{"name": "VERSION", "value": "2"}])


BUSY = """
import time
while True:
    end_s = time.process_time() + 0.01
    while time.process_time() < end_s:
        pass
    time.sleep(0.09)
"""


def version_of(pod: KubeObject) -> str:
    return str(pod["spec"]["containers"][0]["env"][0]["value"])


async def record_ready(cluster: KubernetesCluster, counts: list[int]) -> None:
    async for event in cluster.watch(ENDPOINTS, namespace=NAMESPACE, timeout_s=WAIT_S):
        subsets = event.item["subsets"]
        counts.append(len(subsets[0].get("addresses", [])) if subsets else 0)


async def test_a_rolling_update_never_serves_with_fewer(region: Region, cluster: KubernetesCluster) -> None:
    region.write_manifests(workload("Deployment", "web", VERSION_1, replicas=3), service("web"))
    await region.start()
    await until(cluster, PODS, ready(3))
    await until(cluster, ENDPOINTS, lambda rows: len(rows[0]["subsets"][0].get("addresses", [])) == 3)
    counts: list[int] = []
    recording = asyncio.create_task(record_ready(cluster, counts))
    await so(lambda: counts == [3])
    await cluster.apply(workload("Deployment", "web", VERSION_2, replicas=3), timeout_s=WAIT_S)
    await until(cluster, PODS, lambda pods: ready(3)(pods) and all(version_of(pod) == "2" for pod in pods))
    await until(cluster, DEPLOYMENTS, lambda rows: rows[0]["status"]["updatedReplicas"] == 3)
    recording.cancel()
    with suppress(asyncio.CancelledError):
        await recording
    assert min(counts) == 3
    sets = await until(cluster, REPLICA_SETS, lambda rows: len(rows) == 2)
    assert sorted(row["spec"]["replicas"] for row in sets) == [0, 3]


async def test_going_back_uses_the_old_replica_set(region: Region, cluster: KubernetesCluster) -> None:
    region.write_manifests(workload("Deployment", "web", VERSION_1))
    await region.start()
    await until(cluster, PODS, ready(1))
    for version, spec in (("2", VERSION_2), ("1", VERSION_1)):
        await cluster.apply(workload("Deployment", "web", spec), timeout_s=WAIT_S)

        def moved(pods: tuple[KubeObject, ...], version: str = version) -> bool:
            return ready(1)(pods) and version_of(pods[0]) == version

        await until(cluster, PODS, moved)
    sets = (await cluster.list(REPLICA_SETS, namespace=NAMESPACE, timeout_s=WAIT_S)).items
    assert len(sets) == 2


async def test_a_broken_version_does_not_take_the_old_one_down(region: Region, cluster: KubernetesCluster) -> None:
    region.write_manifests(workload("Deployment", "web", VERSION_1, replicas=2))
    await region.start()
    await until(cluster, PODS, ready(2))
    broken = shell("exit 1", readinessProbe={"exec": {"command": ["false"]}})
    await cluster.apply(workload("Deployment", "web", broken, replicas=2), timeout_s=WAIT_S)
    await until(cluster, EVENTS, lambda rows: any(row["reason"] == "BackOff" for row in rows))
    pods = (await cluster.list(PODS, namespace=NAMESPACE, timeout_s=WAIT_S)).items
    assert sum(map(is_ready, pods)) == 2


async def test_pods_of_a_fixed_address_follow_one_another(region: Region, cluster: KubernetesCluster) -> None:
    address = {"leeward.dev/pod-address": f"127.10.{region.index}.4"}
    listen = f"import socket, time; s = socket.create_server(('127.10.{region.index}.4', 7443)); time.sleep(1000)"
    first, second = (
        {"containers": [{"name": "main", "command": ["python", "-c", f"{listen} # {version}"]}]} for version in "12"
    )
    region.write_manifests(workload("Deployment", "agent", first, annotations=address))
    await region.start()
    (old,) = await until(cluster, PODS, ready(1))
    assert old["status"]["podIP"] == f"127.10.{region.index}.4"
    await cluster.apply(workload("Deployment", "agent", second, annotations=address), timeout_s=WAIT_S)
    uid = old["metadata"]["uid"]
    (new,) = await until(cluster, PODS, lambda pods: ready(1)(pods) and pods[0]["metadata"]["uid"] != uid)
    assert new["status"]["podIP"] == old["status"]["podIP"]
    assert new["status"]["containerStatuses"][0]["restartCount"] == 0, "the address was free when it started"


async def test_scaling(region: Region, cluster: KubernetesCluster) -> None:
    region.write_manifests(workload("Deployment", "web", VERSION_1, replicas=1), service("web"))
    await region.start()
    for size in (3, 1):
        await cluster.patch(DEPLOYMENTS, "web", {"spec": {"replicas": size}}, namespace=NAMESPACE, timeout_s=WAIT_S)
        await until(cluster, PODS, ready(size))

        def listed(rows: tuple[KubeObject, ...], size: int = size) -> bool:
            return [len(row["endpoints"]) for row in rows] == [size]

        await until(cluster, ENDPOINT_SLICES, listed)


async def test_a_deleted_pod_is_replaced_and_a_deleted_deployment_takes_all(
    region: Region, cluster: KubernetesCluster
) -> None:
    region.write_manifests(workload("Deployment", "web", VERSION_1))
    await region.start()
    (pod,) = await until(cluster, PODS, ready(1))
    await cluster.delete(PODS, pod["metadata"]["name"], namespace=NAMESPACE, timeout_s=WAIT_S)
    name = pod["metadata"]["name"]
    (pod,) = await until(cluster, PODS, lambda pods: ready(1)(pods) and pods[0]["metadata"]["name"] != name)
    await cluster.delete(DEPLOYMENTS, "web", namespace=NAMESPACE, timeout_s=WAIT_S)
    await until(cluster, PODS, lambda pods: not pods)
    await until(cluster, REPLICA_SETS, lambda sets: not sets)
    assert not exists(pid_of(pod))


async def test_stateful_pods_come_up_in_order_and_go_from_the_top(region: Region, cluster: KubernetesCluster) -> None:
    claims = [{"metadata": {"name": "data"}, "spec": {}}]
    region.write_manifests(workload("StatefulSet", "db", VERSION_1, replicas=3, volumeClaimTemplates=claims))
    await region.start()
    pods = await until(cluster, PODS, ready(3))
    assert [pod["metadata"]["name"] for pod in pods] == ["db-0", "db-1", "db-2"]
    # Each was created only when the one before was ready: transitions are whole seconds, so equal is in order.
    times = [pod["metadata"]["creationTimestamp"] for pod in pods]
    assert times == sorted(times)
    await cluster.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 1}}, namespace=NAMESPACE, timeout_s=WAIT_S)
    await until(cluster, PODS, ready(1))
    claimed = (await cluster.list(PERSISTENT_VOLUME_CLAIMS, namespace=NAMESPACE, timeout_s=WAIT_S)).items
    assert sorted(claim["metadata"]["name"] for claim in claimed) == ["data-db-0", "data-db-1", "data-db-2"]
    assert {claim["status"]["phase"] for claim in claimed} == {"Bound"}


async def test_stateful_pods_are_updated_highest_first(region: Region, cluster: KubernetesCluster) -> None:
    region.write_manifests(workload("StatefulSet", "db", VERSION_1, replicas=2))
    await region.start()
    await until(cluster, PODS, ready(2))
    version = (await cluster.list(PODS, namespace=NAMESPACE, timeout_s=WAIT_S)).resource_version
    await cluster.apply(workload("StatefulSet", "db", VERSION_2, replicas=2), timeout_s=WAIT_S)
    deleted: list[str] = []
    async with asyncio.timeout(WAIT_S):
        async for event in cluster.watch(PODS, namespace=NAMESPACE, resource_version=version, timeout_s=WAIT_S):
            if event.change == "DELETED":
                deleted.append(event.item["metadata"]["name"])
            if len(deleted) == 2:
                break
    assert deleted == ["db-1", "db-0"]
    await until(cluster, PODS, lambda pods: ready(2)(pods) and all(version_of(pod) == "2" for pod in pods))


async def test_the_autoscaler_follows_the_load(region: Region, cluster: KubernetesCluster) -> None:
    # About a tenth of a core, of which each pod requests a hundredth.
    busy = {
        "containers": [
            {
                "name": "main",
                "command": ["python", "-c", BUSY],
                "resources": {"requests": {"cpu": "10m"}},
            }
        ]
    }
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1,
            "maxReplicas": 2,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                }
            ],
        },
    }
    region.write_manifests(workload("Deployment", "web", busy), scaler)
    await region.start()
    await until(cluster, PODS, ready(2))
    (item,) = await until(
        cluster, HORIZONTAL_POD_AUTOSCALERS, lambda rows: rows[0].get("status", {}).get("currentReplicas") == 2
    )
    assert item["status"]["desiredReplicas"] == 2

    # Who scales to nothing means it.
    await cluster.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 0}}, namespace=NAMESPACE, timeout_s=WAIT_S)
    (item,) = await until(
        cluster,
        HORIZONTAL_POD_AUTOSCALERS,
        lambda rows: rows[0]["status"]["conditions"][0]["reason"] == "ScalingDisabled",
    )
    assert item["status"]["desiredReplicas"] == 0
    await until(cluster, PODS, lambda pods: not pods)


async def test_a_deleted_namespace_ends_with_its_pods(region: Region, cluster: KubernetesCluster) -> None:
    region.write_manifests(workload("Deployment", "web", VERSION_1), service("web"))
    await region.start()
    (pod,) = await until(cluster, PODS, ready(1))
    await cluster.delete(NAMESPACES, NAMESPACE, timeout_s=WAIT_S)
    await until(
        cluster, NAMESPACES, lambda rows: NAMESPACE not in {row["metadata"]["name"] for row in rows}, namespace=""
    )
    assert not exists(pid_of(pod))
    listing = await cluster.list(EVENTS, namespace=NAMESPACE, timeout_s=WAIT_S)
    assert listing.items == ()
