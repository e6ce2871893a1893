"""What every API server behind the Cluster port must do for us.

Always against the embedded one; also against a real one once it is built (tests/kubernetes/prepare.py). No controllers
are needed.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from leeward.adapters.kubernetes.client import Connection, KubernetesCluster
from leeward.ports.cluster import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    SECRETS,
    BudgetError,
    Change,
    ClusterUnavailableError,
    ConflictError,
    KubeObject,
    NotFoundError,
    RejectedError,
    Resource,
    WatchEvent,
)
from tests.kit.waiting import until
from tests.kubernetes.controlplane import control_plane
from tests.kubernetes.programs import missing_program
from tests.world.kubernetes.region import namespace, region_in

WAIT_S = 60.0
REAL = pytest.param("real", marks=[pytest.mark.kubernetes, pytest.mark.engine, pytest.mark.timeout(300)])
SERVERS = ["embedded", *([REAL] if missing_program() is None else [])]


@dataclass(frozen=True, slots=True)
class Ground:
    """An API server and a namespace of the test's own."""

    connection: Connection
    cluster: KubernetesCluster
    namespace: str

    def config(self, name: str, data: dict[str, str], **metadata: Any) -> KubeObject:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace, **metadata},
            "data": data,
        }

    async def apply(self, item: KubeObject) -> KubeObject:
        return await self.cluster.apply(item, timeout_s=WAIT_S)

    async def get(self, resource: Resource, name: str) -> KubeObject:
        return await self.cluster.get(resource, name, namespace=self.namespace, timeout_s=WAIT_S)

    async def patch(self, resource: Resource, name: str, patch: KubeObject, subresource: str = "") -> KubeObject:
        return await self.cluster.patch(
            resource, name, patch, namespace=self.namespace, subresource=subresource, timeout_s=WAIT_S
        )

    async def delete(self, resource: Resource, name: str) -> None:
        await self.cluster.delete(resource, name, namespace=self.namespace, timeout_s=WAIT_S)

    async def version(self) -> str:
        listing = await self.cluster.list(CONFIG_MAPS, namespace=self.namespace, timeout_s=WAIT_S)
        return listing.resource_version

    async def events(self, count: int, **options: Any) -> list[WatchEvent]:
        """Return the first events of a watch on this namespace's ConfigMaps."""
        seen: list[WatchEvent] = []
        async with asyncio.timeout(WAIT_S):
            async for event in self.cluster.watch(CONFIG_MAPS, namespace=self.namespace, timeout_s=WAIT_S, **options):
                if event.item["metadata"]["name"] != "kube-root-ca.crt":  # put there by a real control plane
                    seen.append(event)
                if len(seen) == count:
                    break
        return seen


@pytest_asyncio.fixture(params=SERVERS, scope="module", loop_scope="module")
async def connection(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Connection]:
    """Yield an API server that all tests share; each has a namespace of its own."""
    if request.param == "real":
        with control_plane(tmp_path_factory.mktemp("plane")) as plane:
            yield plane.token_connection
        return
    async with region_in(tmp_path_factory.mktemp("contract") / "r") as region:
        await region.start()
        yield region.connection


@pytest.fixture
async def ground(connection: Connection) -> AsyncIterator[Ground]:
    name = f"contract-{uuid4().hex[:8]}"
    async with KubernetesCluster(connection) as cluster:
        await cluster.apply(namespace(name), timeout_s=WAIT_S)
        yield Ground(connection, cluster, name)
        await cluster.delete(NAMESPACES, name, timeout_s=WAIT_S)


async def test_apply_creates_and_get_returns_it(ground: Ground) -> None:
    applied = await ground.apply(ground.config("a", {"key": "value"}))
    assert applied["metadata"]["uid"]
    assert applied["metadata"]["creationTimestamp"]
    found = await ground.get(CONFIG_MAPS, "a")
    assert found["data"] == {"key": "value"}
    assert found["metadata"]["resourceVersion"] == applied["metadata"]["resourceVersion"]


async def test_applying_the_same_again_changes_nothing(ground: Ground) -> None:
    first = await ground.apply(ground.config("a", {"key": "value"}))
    again = await ground.apply(ground.config("a", {"key": "value"}))
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_apply_removes_what_it_no_longer_names_and_leaves_what_others_set(ground: Ground) -> None:
    await ground.apply(ground.config("a", {"ours": "1", "dropped": "1"}))
    await ground.patch(CONFIG_MAPS, "a", {"data": {"theirs": "1"}})
    await ground.apply(ground.config("a", {"ours": "2"}))
    assert (await ground.get(CONFIG_MAPS, "a"))["data"] == {"ours": "2", "theirs": "1"}


async def test_apply_with_an_old_version_is_a_conflict(ground: Ground) -> None:
    old = await ground.apply(ground.config("a", {"key": "1"}))
    await ground.apply(ground.config("a", {"key": "2"}))
    version = old["metadata"]["resourceVersion"]
    with pytest.raises(ConflictError):
        await ground.apply(ground.config("a", {"key": "3"}, resourceVersion=version))
    assert (await ground.get(CONFIG_MAPS, "a"))["data"] == {"key": "2"}


async def test_patch_merges_and_null_removes(ground: Ground) -> None:
    await ground.apply(ground.config("a", {"stays": "1", "goes": "1"}))
    patched = await ground.patch(CONFIG_MAPS, "a", {"data": {"goes": None, "comes": "1"}})
    assert patched["data"] == {"stays": "1", "comes": "1"}


async def test_patch_with_an_old_version_is_a_conflict(ground: Ground) -> None:
    old = await ground.apply(ground.config("a", {"key": "1"}))
    await ground.patch(CONFIG_MAPS, "a", {"data": {"key": "2"}})
    stale = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "data": {"key": "3"}}
    with pytest.raises(ConflictError):
        await ground.patch(CONFIG_MAPS, "a", stale)


async def test_what_is_not_there_is_not_found(ground: Ground) -> None:
    with pytest.raises(NotFoundError, match="nothing"):
        await ground.get(CONFIG_MAPS, "nothing")
    with pytest.raises(NotFoundError):
        await ground.delete(CONFIG_MAPS, "nothing")
    with pytest.raises(NotFoundError):
        await ground.patch(CONFIG_MAPS, "nothing", {"data": {}})
    with pytest.raises(NotFoundError):
        await ground.apply(ground.config("a", {}, namespace="no-such-namespace"))
    with pytest.raises(NotFoundError):
        await ground.apply({"apiVersion": "apps/v1", "kind": "NoSuchKind", "metadata": {"name": "a"}})


async def test_a_bad_name_is_rejected(ground: Ground) -> None:
    with pytest.raises(RejectedError, match="Not_A_Name"):
        await ground.apply(ground.config("Not_A_Name", {}))


async def test_a_wrong_token_is_rejected(ground: Ground, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    async with KubernetesCluster(replace(ground.connection, token_file=wrong)) as stranger:
        with pytest.raises(RejectedError):
            await stranger.list(CONFIG_MAPS, namespace=ground.namespace, timeout_s=WAIT_S)


async def test_list_selects_by_namespace_label_and_name(ground: Ground) -> None:
    for name, tier in (("a", "one"), ("b", "two"), ("c", "two")):
        await ground.apply(ground.config(name, {}, labels={"tier": tier}))

    async def names(**options: Any) -> list[str]:
        listing = await ground.cluster.list(CONFIG_MAPS, timeout_s=WAIT_S, **options)
        assert all(item["kind"] == "ConfigMap" for item in listing.items)
        return sorted(item["metadata"]["name"] for item in listing.items)

    here = {"namespace": ground.namespace}
    assert await names(**here, label_selector="tier=two") == ["b", "c"]
    assert await names(**here, label_selector="tier in (one, two),tier!=two") == ["a"]
    assert await names(**here, field_selector="metadata.name=b") == ["b"]
    assert await names(field_selector=f"metadata.namespace={ground.namespace}", label_selector="tier") == [
        "a",
        "b",
        "c",
    ]
    assert await names(namespace="default", label_selector="tier") == []


async def test_watch_tells_every_change_in_order(ground: Ground) -> None:
    version = await ground.version()
    await ground.apply(ground.config("a", {"key": "1"}))
    await ground.apply(ground.config("a", {"key": "2"}))
    await ground.delete(CONFIG_MAPS, "a")
    events = await ground.events(3, resource_version=version)
    assert [(event.change, event.item["data"]["key"]) for event in events] == [
        (Change.ADDED, "1"),
        (Change.MODIFIED, "2"),
        (Change.DELETED, "2"),
    ]


async def test_watch_goes_on_from_any_version_it_told(ground: Ground) -> None:
    version = await ground.version()
    for number in range(3):
        await ground.apply(ground.config("a", {"key": str(number)}))
    first, *rest = await ground.events(3, resource_version=version)
    resumed = await ground.events(2, resource_version=first.item["metadata"]["resourceVersion"])
    assert resumed == rest


async def test_watch_waits_for_what_comes_later(ground: Ground) -> None:
    watching = asyncio.create_task(ground.events(1, resource_version=await ground.version()))
    await ground.apply(ground.config("late", {}))
    (event,) = await watching
    assert event.item["metadata"]["name"] == "late"


async def test_watch_without_a_version_begins_with_what_there_is(ground: Ground) -> None:
    await ground.apply(ground.config("a", {}))
    await ground.apply(ground.config("b", {}))
    events = await ground.events(2)
    assert {(event.change, event.item["metadata"]["name"]) for event in events} == {
        (Change.ADDED, "a"),
        (Change.ADDED, "b"),
    }


async def test_leaving_the_selection_is_a_deletion_to_its_watcher(ground: Ground) -> None:
    version = await ground.version()
    await ground.apply(ground.config("a", {}, labels={"tier": "one"}))
    await ground.apply(ground.config("a", {}, labels={"tier": "two"}))
    await ground.apply(ground.config("a", {}, labels={"tier": "one"}))
    events = await ground.events(3, resource_version=version, label_selector="tier=one")
    assert [event.change for event in events] == [Change.ADDED, Change.DELETED, Change.ADDED]


async def test_the_generation_counts_changes_of_the_spec_only(ground: Ground) -> None:
    template = {
        "metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [{"name": "main", "image": "example.invalid/main", "command": ["sleep", "60"]}]},
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "namespace": ground.namespace},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": template},
    }
    assert (await ground.apply(deployment))["metadata"]["generation"] == 1
    labelled = await ground.patch(DEPLOYMENTS, "a", {"metadata": {"labels": {"x": "y"}}})
    assert labelled["metadata"]["generation"] == 1
    await ground.patch(DEPLOYMENTS, "a", {"status": {"observedGeneration": 1}}, subresource="status")
    paused = await ground.patch(DEPLOYMENTS, "a", {"spec": {"paused": True}})
    assert paused["metadata"]["generation"] == 2


async def test_the_spec_cannot_be_changed_through_the_status(ground: Ground) -> None:
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "a", "namespace": ground.namespace},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}},
    }
    await ground.apply(budget)
    resource = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
    patched = await ground.patch(resource, "a", {"spec": {"minAvailable": 2}}, subresource="status")
    assert patched["spec"]["minAvailable"] == 1


async def test_secrets_given_as_text_are_kept_as_data(ground: Ground) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a", "namespace": ground.namespace},
        "stringData": {"password": "open sesame"},
    }
    await ground.apply(secret)
    found = await ground.get(SECRETS, "a")
    assert found["data"] == {"password": "b3BlbiBzZXNhbWU="}
    assert "stringData" not in found


async def test_a_custom_kind_is_found_by_asking(ground: Ground) -> None:
    group = f"{ground.namespace}.leeward.test"
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }
            ],
        },
    }
    await ground.apply(definition)
    widget = {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": "a", "namespace": ground.namespace},
        "spec": {"size": 3},
    }
    # A real server takes a moment to serve a new kind.
    await until(
        lambda: ground.apply(widget),
        accept=lambda _: True,
        within_s=WAIT_S,
        every_s=0.1,
        not_yet=(NotFoundError,),
    )
    found = await ground.get(Resource(group, "v1", "widgets", "Widget"), "a")
    assert found["spec"] == {"size": 3}
    await ground.cluster.delete(CUSTOM_RESOURCE_DEFINITIONS, f"widgets.{group}", timeout_s=WAIT_S)


async def test_an_eviction_that_the_budget_forbids_is_told_apart(ground: Ground) -> None:
    # No controller counts for a real server here, so that its budget allows nothing.
    metadata = {"name": "a", "namespace": ground.namespace, "labels": {"app": "a"}}
    container = {"name": "main", "image": "none", "command": ["sleep", "1000"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "a", "namespace": ground.namespace},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "a"}}},
    }
    await ground.apply(budget)
    await ground.apply(pod)
    running = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await ground.patch(PODS, "a", {"status": running}, subresource="status")
    with pytest.raises(BudgetError):
        await ground.cluster.evict("a", namespace=ground.namespace, timeout_s=WAIT_S)
    with pytest.raises(NotFoundError):
        await ground.cluster.evict("b", namespace=ground.namespace, timeout_s=WAIT_S)
    await ground.cluster.delete(PODS, "a", namespace=ground.namespace, grace_s=0, timeout_s=WAIT_S)


async def test_nobody_there_is_unavailable(ground: Ground) -> None:
    async with KubernetesCluster(replace(ground.connection, url="https://127.10.254.254:9")) as nobody:
        with pytest.raises(ClusterUnavailableError):
            await nobody.get(CONFIG_MAPS, "a", namespace=ground.namespace, timeout_s=2)
        with pytest.raises(ClusterUnavailableError):
            await anext(aiter(nobody.watch(CONFIG_MAPS, resource_version="1", timeout_s=0.2)))
