"""Evictions, which heed disruption budgets, on real pods."""

import pytest

from leeward.adapters.kubernetes.client import KubernetesCluster
from leeward.ports.cluster import POD_DISRUPTION_BUDGETS, PODS, BudgetError, KubeObject, NotFoundError
from tests.world.kubernetes.region import NAMESPACE, WAIT_S, Region, is_ready, ready, shell, until, workload

STEADY = shell("exec sleep 1000")


def budget(**spec: object) -> KubeObject:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }


async def allowed(cluster: KubernetesCluster, count: int) -> KubeObject:
    (item,) = await until(
        cluster, POD_DISRUPTION_BUDGETS, lambda rows: rows[0].get("status", {}).get("disruptionsAllowed") == count
    )
    return item


async def evict(cluster: KubernetesCluster, pod: KubeObject) -> None:
    await cluster.evict(pod["metadata"]["name"], namespace=NAMESPACE, timeout_s=WAIT_S)


async def test_one_pod_at_a_time_may_go(region: Region, cluster: KubernetesCluster) -> None:
    # Who is ready stays it, and nobody else becomes it while the file is there.
    closed = region.directory / "closed"
    probe = {"exec": {"command": ["test", "!", "-f", str(closed)]}, "timeoutSeconds": 10}
    seldom = {"leeward.dev/probe-period-s": "3600"}
    spec = shell("exec sleep 1000", readinessProbe=probe)
    deployment = workload("Deployment", "web", spec, annotations=seldom, replicas=2)
    region.write_manifests(deployment, budget(maxUnavailable=1))
    await region.start()
    first, second = await until(cluster, PODS, ready(2))
    assert (await allowed(cluster, 1))["status"] == {
        "currentHealthy": 2,
        "desiredHealthy": 1,
        "disruptionsAllowed": 1,
        "expectedPods": 2,
        "observedGeneration": 1,
    }
    closed.touch()
    await evict(cluster, first)
    with pytest.raises(BudgetError, match="disruption budget"):
        await evict(cluster, second)
    closed.unlink()
    await until(cluster, PODS, lambda pods: ready(2)(pods) and first["metadata"]["name"] not in names(pods))
    await allowed(cluster, 1)
    await evict(cluster, second)
    await until(cluster, PODS, lambda pods: ready(2)(pods) and second["metadata"]["name"] not in names(pods))


def names(pods: tuple[KubeObject, ...]) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods}


async def test_a_part_of_them_must_stay(region: Region, cluster: KubernetesCluster) -> None:
    region.write_manifests(workload("Deployment", "web", STEADY, replicas=3), budget(minAvailable="50%"))
    await region.start()
    await until(cluster, PODS, ready(3))
    assert (await allowed(cluster, 1))["status"]["desiredHealthy"] == 2


@pytest.mark.parametrize(
    ("policy", "goes"), [("AlwaysAllow", True), ("IfHealthyBudget", False)], ids=["always", "if the others are enough"]
)
async def test_a_pod_that_serves_nobody(region: Region, cluster: KubernetesCluster, policy: str, goes: bool) -> None:
    never = shell("exec sleep 1000", readinessProbe={"exec": {"command": ["false"]}, "timeoutSeconds": 10})
    wanted = budget(maxUnavailable=0, unhealthyPodEvictionPolicy=policy)
    region.write_manifests(workload("Deployment", "web", never), wanted)
    await region.start()
    (pod,) = await until(cluster, PODS, lambda pods: len(pods) == 1)
    assert not is_ready(pod)
    if goes:
        await evict(cluster, pod)
        await until(cluster, PODS, lambda pods: names(pods) != names((pod,)))
    else:
        with pytest.raises(BudgetError):
            await evict(cluster, pod)


async def test_without_a_budget_any_may_go_but_somebody_must_be_there(
    region: Region, cluster: KubernetesCluster
) -> None:
    region.write_manifests(workload("Deployment", "web", STEADY))
    await region.start()
    (pod,) = await until(cluster, PODS, ready(1))
    await evict(cluster, pod)
    await until(cluster, PODS, lambda pods: ready(1)(pods) and names(pods) != names((pod,)))
    with pytest.raises(NotFoundError):
        await cluster.evict("nobody", namespace=NAMESPACE, timeout_s=WAIT_S)
