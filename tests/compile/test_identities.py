"""What each container can prove itself with: its own purpose, by the secrets it mounts."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leeward.compile import Images, KubeObject, compile_cluster, compile_region, kubernetes_target, world_target
from leeward.spec import Spec, load
from leeward.spec.application import Operator
from leeward.world import identity
from leeward.world.objects import engine_commands, region_objects
from tests.compile.structure import WORKLOADS
from tests.compile.varieties import secret_values

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = engine_commands()
REGION = "us-east-1"
EVERYTHING = "*"
MOUNTED = {
    ("leeward", "agent"): {("leeward-agent", EVERYTHING), ("leeward-store-client", EVERYTHING)},
    ("leeward", "gateway"): {("leeward-gateway", EVERYTHING)},
    ("etcd", "etcd"): {("leeward-store-member", EVERYTHING)},
    ("payments-postgres", "postgres"): {("payments-identity", EVERYTHING), ("payments-database", EVERYTHING)},
    ("payments", "payments"): {("payments-identity", "tls.crt"), ("payments-database", "password")},
}
TOKEN = ("leeward-cluster-token", EVERYTHING)
IDENTITY = {"ca.crt", "tls.crt", "tls.key"}


def mounted(items: list[KubeObject]) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """Return the secrets, with their keys, that each container of each workload mounts."""
    found = {}
    for item in items:
        if item["kind"] not in WORKLOADS:
            continue
        spec = item["spec"]["template"]["spec"]
        volumes = {each["name"]: each["secret"] for each in spec.get("volumes", ()) if "secret" in each}
        for container in spec["containers"]:
            found[item["metadata"]["name"], container["name"]] = {
                (secret["secretName"], key)
                for mount in container.get("volumeMounts", ())
                if (secret := volumes.get(mount["name"])) is not None
                for key in ([each["key"] for each in secret["items"]] if "items" in secret else [EVERYTHING])
            }
    return found


def payments() -> Spec:
    return load(EXAMPLES / "payments")


def test_a_container_of_a_world_mounts_its_own_purpose_only() -> None:
    spec = payments()
    target = world_target(spec, REGION, engines=COMMANDS, secrets=secret_values(spec), source_dir="/e")
    agent = {("leeward", "agent"): MOUNTED["leeward", "agent"] | {TOKEN}}
    assert mounted(compile_region(spec, REGION, target)) == MOUNTED | agent


def test_a_container_of_a_cluster_mounts_its_own_purpose_only() -> None:
    spec = payments()
    target = kubernetes_target(spec, REGION, engines=COMMANDS, images=Images())
    assert mounted(compile_region(spec, REGION, target)) == MOUNTED


def test_the_secrets_of_a_world_hold_what_their_purpose_needs() -> None:
    spec, made = payments(), identity.create("atlas", {REGION: 1})
    items = region_objects(
        spec,
        REGION,
        identity=made,
        databases=secret_values(spec).databases,
        instances={"payments": made.instance("payments", REGION)},
        source_dir=EXAMPLES,
        commands=COMMANDS,
    )
    secrets = {
        (item["metadata"]["namespace"], item["metadata"]["name"]): item["stringData"]
        for item in items
        if item["kind"] == "Secret"
    }
    assert {key: set(data) for key, data in secrets.items()} == {
        ("leeward-system", "leeward-agent"): IDENTITY | {"instance-ca.crt"},
        ("leeward-system", "leeward-store-client"): IDENTITY,
        ("leeward-system", "leeward-store-member"): IDENTITY | {"peer-ca.crt", "peer.crt", "peer.key"},
        ("leeward-system", "leeward-gateway"): IDENTITY,
        ("leeward-system", "leeward-cluster-token"): {"token", "ca.crt"},
        ("payments", "payments-identity"): IDENTITY,
        ("payments", "payments-database"): {"password", "replication-password"},
    }
    keys = Counter(text for data in secrets.values() for text in data.values() if "PRIVATE KEY" in text)
    assert len(keys) == 6
    assert set(keys.values()) == {1}, "no key is in two secrets"
    assert made.operator["tls.key"] not in keys
    assert keys.keys().isdisjoint(made.authorities.values())


def references(items: list[KubeObject]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return by namespace and name what each ExternalSecret reads, by key."""
    return {
        (item["metadata"]["namespace"], item["metadata"]["name"]): {
            each["secretKey"]: (each["remoteRef"]["key"], each["remoteRef"]["property"])
            for each in item["spec"]["data"]
        }
        for item in items
        if item["kind"] == "ExternalSecret"
    }


@pytest.mark.parametrize("cluster", ["fnp-us", "fnp-eu", "fnp-jp"])
def test_a_cluster_refers_to_each_key_once_and_to_no_store_identity_where_applications_are(cluster: str) -> None:
    spec = load(EXAMPLES / "fnp")
    region = spec.region_of(cluster).name
    found = references(compile_cluster(spec, cluster, engines=COMMANDS))
    system = {name: remotes for (namespace, name), remotes in found.items() if namespace == "leeward-system"}
    assert {name: {key for key, _ in remotes.values()} for name, remotes in system.items()} == {
        f"leeward-{purpose}": {f"fnp/identity/{region}/{purpose}"}
        for purpose in ("agent", "store-client", "store-member", "gateway", "metrics")
    }
    (own,) = (remotes for (_, name), remotes in found.items() if name == "fnp-identity")
    assert own["tls.key"] == (f"fnp/fnp/identity/{region}", "tls.key")
    keys = Counter(remote for remotes in found.values() for key, remote in remotes.items() if key.endswith(".key"))
    assert set(keys.values()) == {1}


def test_where_no_instance_manager_runs_no_key_is_needed() -> None:
    spec = load(EXAMPLES / "fnp")
    (application,) = spec.applications
    database = application.spec.database.model_copy(update={"operator": Operator.CLOUDNATIVE_PG})
    changed = application.model_copy(update={"spec": application.spec.model_copy(update={"database": database})})
    found = references(compile_cluster(replace(spec, applications=(changed,)), "fnp-us", engines=COMMANDS))
    (own,) = (remotes for (_, name), remotes in found.items() if name == "fnp-identity")
    assert set(own) == {"tls.crt"}
