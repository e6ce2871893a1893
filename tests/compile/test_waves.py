"""Argo CD's waves: nothing waits for what comes in a later one, in its own cluster or in another region's."""

from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings

from leeward.compile import KubeObject, compile_cluster
from leeward.compile.platform.waves import NEEDS
from leeward.compile.site import all_clusters
from leeward.spec import Spec, load
from leeward.spec.load import resolve
from leeward.spec.source import read
from leeward.world.objects import engine_commands
from tests.compile.evaluate import kind
from tests.compile.structure import Key, key_of
from tests.compile.test_concern_pages import spec_of
from tests.compile.test_contents import MAPS, SECRETS, names_in
from tests.compile.varieties import specs
from tests.kubernetes.everything import VARIETIES, everything

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = engine_commands()
WAVE = "argocd.argoproj.io/sync-wave"
MACHINES = ("NodePool", "EC2NodeClass", "AKSNodeClass", "ComputeClass", "StorageClass")
NETWORKS = ("VPCPeeringConnection", "ComputeNetworkPeering", "VirtualNetworksVirtualNetworkPeering")
GITOPS = {"repository": "https://git.example.com/shop.git", "promote": True}


def wave_of(item: KubeObject) -> int:
    return int(item["metadata"].get("annotations", {}).get(WAVE, "0"))


def pods_of(item: KubeObject) -> KubeObject | None:
    """Return the pod of a workload."""
    pod: KubeObject | None = item.get("spec", {}).get("template", {}).get("spec")
    return pod if pod is not None and "containers" in pod else None


def needs(items: list[KubeObject]) -> Iterator[tuple[KubeObject, KubeObject]]:
    """Yield each object with another one that must be there, and healthy, before it can be healthy itself."""
    workloads = [item for item in items if pods_of(item) is not None or item["kind"] == "Cluster"]
    namespaces = {item["metadata"]["name"]: item for item in kind(items, "Namespace")}
    for item in items:
        namespace = namespaces.get(item["metadata"].get("namespace", ""))
        if namespace is not None:
            yield item, namespace
    for item in workloads:
        yield from ((item, machine) for machine in items if machine["kind"] in MACHINES)
        yield from ((item, each) for each in items if key_of(each) in read_by(item))
        # Its name has to resolve, and its own pods are what a policy lets through.
        yield from ((item, each) for each in kind(items, "Service") if _same(item, each))
        yield from ((item, each) for each in kind(items, "NetworkPolicy") if _same(item, each))
        yield from ((item, each) for each in kind(items, "PeerAuthentication") if _same(item, each))
    networks = [item for item in items if item["kind"] in NETWORKS or item["metadata"]["name"] == "wireguard"]
    (store,) = (item for item in items if key_of(item) == ("StatefulSet", "leeward-system", "etcd"))
    (leeward,) = (item for item in items if key_of(item) == ("Deployment", "leeward-system", "leeward"))
    yield leeward, store
    for item in workloads:
        text = yaml.safe_dump(item)
        if item["kind"] == "StatefulSet" and ".svc.cluster." in text:
            yield from ((item, each) for each in networks if each["kind"] != "Namespace")  # members of other regions
        if "gateway-" in text and "leeward-system.svc" in text:
            yield item, leeward  # other regions' databases, and the primary
    for scaler in kind(items, "HorizontalPodAutoscaler"):
        yield from ((scaler, each) for each in workloads if _same(scaler, each))
    for canary in kind(items, "Canary"):
        yield from ((canary, each) for each in kind(items, "Deployment") if _same(canary, each))


def _same(item: KubeObject, other: KubeObject) -> bool:
    return bool(item["metadata"].get("namespace") == other["metadata"].get("namespace"))


def read_by(item: KubeObject) -> set[Key]:
    """Return what a workload's pods cannot start without."""
    pod, namespace = pods_of(item), item["metadata"].get("namespace")
    if pod is None:
        return set()
    result: set[Key] = {("ServiceAccount", namespace, pod["serviceAccountName"])}
    result |= {("ConfigMap", namespace, name) for name in names_in(pod, MAPS)}
    optional = {each["secret"]["secretName"] for each in pod.get("volumes", ()) if "secret" in each}
    optional = {name for name in optional if _is_optional(pod, name)}
    result |= {("ExternalSecret", namespace, name) for name in set(names_in(pod, SECRETS)) - optional}
    return result


def _is_optional(pod: KubeObject, name: str) -> bool:
    return any(each.get("secret", {}).get("optional") for each in pod["volumes"] if name in names_in(each, SECRETS))


def too_early(spec: Spec) -> list[str]:
    """Return each object that a wave would wait for while what it needs is in a later one."""
    result = []
    for _, cluster in all_clusters(spec):
        items = compile_cluster(spec, cluster.name, engines=COMMANDS)
        for item, needed in needs(items):
            if wave_of(needed) > wave_of(item):
                result.append(f"{cluster.name}: {key_of(item)} needs {key_of(needed)}")
        # A volume that is made for its first pod is bound once that pod is there: with it, neither before nor after.
        for claim in kind(items, "PersistentVolumeClaim"):
            users = [item for item in items if claim["metadata"]["name"] in yaml.safe_dump(pods_of(item))]
            result += [f"{key_of(claim)} and its pod" for item in users if wave_of(item) != wave_of(claim)]
    return result


def delivered(spec: Spec) -> Spec:
    """Return the same fleet, delivered by Argo CD."""
    fleet = spec.fleet.model_dump(mode="json", by_alias=True, exclude_unset=True)
    documents = [each.model_dump(mode="json", by_alias=True, exclude_unset=True) for each in spec.applications]
    fleet["spec"]["gitops"] = GITOPS
    return resolve("delivered.yaml", *read("delivered.yaml", yaml.safe_dump_all([fleet, *documents])))


def test_no_stage_waits_for_itself() -> None:
    assert set(TopologicalSorter(NEEDS).static_order()) == set(NEEDS)


def test_nothing_in_an_example_waits_for_a_later_wave() -> None:
    assert too_early(load(EXAMPLES / "fnp")) == []


@pytest.mark.parametrize("name", VARIETIES)
def test_nothing_waits_for_a_later_wave_whatever_the_fleet_has(name: str) -> None:
    assert too_early(everything(name)) == []


@settings(max_examples=10)
@given(specs())
def test_nothing_in_any_fleet_waits_for_a_later_wave(spec: Spec) -> None:
    assert too_early(delivered(spec)) == []


@pytest.mark.parametrize("database", [{"engine": "cockroachdb"}, {"operator": "cloudnative-pg"}, {}])
@pytest.mark.parametrize("mesh", ["none", "istio", "gateway-api"])
def test_a_database_across_regions_does_not_wait_for_the_way_to_them(database: dict[str, str], mesh: str) -> None:
    fleet = {"network": {"join": "wireguard", "names": True}, "mesh": {"kind": mesh}, "gitops": GITOPS}
    secrets = {"secrets": {"by": "external-secrets"}, "monitoring": {}}
    spec = spec_of({**fleet, **secrets}, {"database": database})
    assert too_early(spec) == []
    items = compile_cluster(spec, "fnp-eu", engines=COMMANDS)
    waves = {key_of(item)[::2]: wave_of(item) for item in items}
    members = ("Cluster", "shop-postgres") if "operator" in database else ("StatefulSet", "shop-postgres")
    members = ("StatefulSet", "shop-cockroachdb") if "engine" in database else members
    assert waves["DaemonSet", "wireguard"] < waves["StatefulSet", "etcd"] < waves["Deployment", "leeward"]
    assert waves["Deployment", "leeward"] < waves[members] < waves["Deployment", "shop"]


@pytest.mark.parametrize("mesh", ["istio", "gateway-api"])
def test_a_certificate_that_a_store_lacks_holds_up_no_pod(mesh: str) -> None:
    fleet = {"mesh": {"kind": mesh}, "gitops": GITOPS, "secrets": {"by": "external-secrets"}}
    items = compile_cluster(spec_of(fleet, {}), "fnp-us", engines=COMMANDS)
    tls = [item for item in kind(items, "ExternalSecret") if item["metadata"]["name"].endswith("-tls")]
    assert tls
    last = max(wave_of(item) for item in items if pods_of(item) is not None)
    assert min(map(wave_of, tls)) > last
