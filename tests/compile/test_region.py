"""Objects of every region: complete, consistent, and the same for the world and for Kubernetes."""

import json
import re
import shutil
from dataclasses import replace
from difflib import unified_diff
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from leeward.adapters.envoy import settings as envoy
from leeward.compile import (
    Images,
    KubeObject,
    agent_settings,
    compile_cluster,
    compile_region,
    kubernetes_target,
    target,
    world_target,
)
from leeward.compile.kube import objects
from leeward.core import codec
from leeward.core.settings import AgentSettings
from leeward.instance.settings import ManagerSettings, parse
from leeward.spec import ProblemsError, Spec, load
from leeward.world.kubernetes import pods as embedded_pods
from leeward.world.model import WAN_ENDPOINTS, address
from leeward.world.objects import engine_commands
from tests.compile.structure import faults, key_of
from tests.compile.varieties import secret_values, specs
from tests.conftest import Golden

EXAMPLE = Path(__file__).parents[2] / "examples" / "payments"
COMMANDS = engine_commands()
GOLDEN = Path(__file__).parent / "payments"
REGIONS = ("us-east-1", "europe-west1", "japaneast")


def world(spec: Spec, region: str) -> list[KubeObject]:
    place = world_target(spec, region, engines=COMMANDS, secrets=secret_values(spec), source_dir="/examples/payments")
    return compile_region(spec, region, place)


def kubernetes(spec: Spec, region: str) -> list[KubeObject]:
    return compile_region(spec, region, kubernetes_target(spec, region, engines=COMMANDS, images=Images()))


def provided(spec: Spec) -> list[tuple[str, str | None, str]]:
    """Return the secrets that a real cluster gets from somewhere else."""
    names = ("leeward-agent", "leeward-store-client", "leeward-store-member", "leeward-gateway")
    system = [("Secret", "leeward-system", name) for name in names]
    apps = [application.metadata.name for application in spec.applications]
    return [
        *system,
        *(("Secret", app, f"{app}-{name}") for app in apps for name in ("identity", "database")),
    ]


def settings_in(items: list[KubeObject]) -> AgentSettings:
    (settings_map,) = [item for item in items if key_of(item) == ("ConfigMap", "leeward-system", "leeward-agent")]
    return codec.decode(AgentSettings, settings_map["data"]["agent.json"])


class Dumper(yaml.SafeDumper):
    """YAML as people read it: no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def readable(items: list[KubeObject]) -> str:
    """Return objects as YAML, JSON documents inside them spread out."""
    plain = json.loads(json.dumps(items))
    for item in plain:
        if item["kind"] == "ConfigMap":
            item["data"] = {name: json.loads(text) for name, text in item["data"].items()}
    return yaml.dump_all(plain, Dumper=Dumper, sort_keys=False, width=110)


def difference(these: list[KubeObject], those: list[KubeObject]) -> str:
    """Return what changes from one cluster's objects to another's, without line numbers: they move too often."""
    lines = unified_diff(readable(these).splitlines(), readable(those).splitlines(), n=2, lineterm="")
    return "\n".join("@@" if line.startswith("@@") else line for line in list(lines)[2:]) + "\n"


@settings(max_examples=25)
@given(specs(), st.data())
def test_every_regions_objects_fit_together(spec: Spec, data: st.DataObject) -> None:
    region = data.draw(st.sampled_from([region.name for region in spec.regions]))
    assert faults(world(spec, region)) == []
    assert faults(kubernetes(spec, region), external=provided(spec)) == []


@settings(max_examples=25)
@given(specs(), st.data())
def test_the_world_and_kubernetes_run_the_same(spec: Spec, data: st.DataObject) -> None:
    region = data.draw(st.sampled_from([region.name for region in spec.regions]))
    here = {key_of(item) for item in world(spec, region)}
    there = {key_of(item) for item in kubernetes(spec, region)}
    assert here - there == {key for key in here if key[0] == "Secret"}
    assert there <= here


@settings(max_examples=25)
@given(specs())
def test_the_settings_survive_the_way_to_the_agent(spec: Spec) -> None:
    for region in spec.regions:
        place = world_target(spec, region.name, engines=COMMANDS, secrets=secret_values(spec), source_dir="/e")
        assert settings_in(world(spec, region.name)) == agent_settings(spec, region.name, place)


@settings(max_examples=25)
@given(specs())
def test_no_value_of_a_secret_leaves_it(spec: Spec) -> None:
    for region in spec.regions:
        others = [item for item in world(spec, region.name) if item["kind"] != "Secret"]
        text = json.dumps(others)
        assert not [value for value in ("token-value", "owner-value", "replication-value") if value in text]
        assert "Secret" not in {item["kind"] for item in kubernetes(spec, region.name)}


@settings(max_examples=25)
@given(specs())
def test_a_region_gets_what_is_placed_there(spec: Spec) -> None:
    (application,) = spec.applications
    app = application.metadata.name
    for region in spec.regions:
        found = {key_of(item) for item in world(spec, region.name)}
        placed = region.name in spec.placement(application)
        assert (("StatefulSet", app, f"{app}-postgres") in found) is placed
        assert (("Deployment", app, app) in found) is placed
        assert ("StatefulSet", "leeward-system", "etcd") in found
        assert ("Deployment", "leeward-system", "leeward") in found


def test_payments_in_the_world(golden: Golden) -> None:
    golden(GOLDEN / "world-us-east-1.yaml", readable(world(load(EXAMPLE), "us-east-1")))


def test_what_differs_in_another_region(golden: Golden) -> None:
    spec = load(EXAMPLE)
    golden(GOLDEN / "world-japaneast.diff", difference(world(spec, "us-east-1"), world(spec, "japaneast")))


def test_what_differs_on_kubernetes(golden: Golden) -> None:
    spec = load(EXAMPLE)
    golden(GOLDEN / "kubernetes-us-east-1.diff", difference(world(spec, "us-east-1"), kubernetes(spec, "us-east-1")))


def test_compiling_twice_gives_the_same_bytes() -> None:
    spec = load(EXAMPLE)
    assert json.dumps(world(spec, REGIONS[0])) == json.dumps(world(load(EXAMPLE), REGIONS[0]))


def test_an_autoscaler_owns_the_number_of_pods_where_there_is_one() -> None:
    spec = load(EXAMPLE)
    name = ("Deployment", "payments", "payments")
    here, there = (next(item for item in run(spec, REGIONS[0]) if key_of(item) == name) for run in (world, kubernetes))
    assert here["spec"]["replicas"] == 2
    assert "replicas" not in there["spec"]


def together(*names: str) -> Spec:
    """Return the example's fleet with applications like its own, of these names."""
    spec = load(EXAMPLE)
    (application,) = spec.applications
    return replace(
        spec,
        applications=tuple(
            application.model_copy(update={"metadata": application.metadata.model_copy(update={"name": name})})
            for name in names
        ),
    )


def test_two_applications_fit_together() -> None:
    spec = together("payments", "shop")
    for region in REGIONS:
        assert faults(world(spec, region)) == []
        assert faults(kubernetes(spec, region), external=provided(spec)) == []


def test_two_applications_share_no_door_and_no_address_in_the_world() -> None:
    spec = together("payments", "shop")
    apps = settings_in(world(spec, "us-east-1")).apps
    assert [(app.instance_host, app.postgres_port, dict(app.egress_ports)) for app in apps] == [
        ("127.10.1.5", 5432, {"us-east-1": 15001, "europe-west1": 15002, "japaneast": 15003}),
        ("127.10.1.6", 5433, {"us-east-1": 15101, "europe-west1": 15102, "japaneast": 15103}),
    ]


def test_another_application_changes_nothing_of_those_there_are() -> None:
    """In Kubernetes ports belong to services: only the gateway's pod, which is made anew, has others."""
    alone, joined = kubernetes(together("payments"), "us-east-1"), kubernetes(together("a", "payments"), "us-east-1")
    after = {key_of(item): item for item in joined}
    changed = {key_of(item) for item in alone if after[key_of(item)] != item}
    assert changed == {("ConfigMap", "leeward-system", "leeward-agent"), ("Deployment", "leeward-system", "leeward")}


def test_a_world_reports_how_many_databases_it_runs() -> None:
    spec = together(*(f"shop-{number}" for number in range(6)))
    with pytest.raises(ProblemsError) as caught:
        world(spec, REGIONS[0])
    assert [problem.code for problem in caught.value.problems] == ["world-too-small"]
    assert faults(kubernetes(spec, REGIONS[0]), external=provided(spec)) == []


def test_a_region_there_is_not() -> None:
    with pytest.raises(KeyError):
        kubernetes(load(EXAMPLE), "mars")


def test_the_agent_may_change_nothing_in_the_cluster() -> None:
    roles = [item for item in kubernetes(load(EXAMPLE), REGIONS[0]) if item["kind"].endswith("Role")]
    assert [key_of(item) for item in roles] == [("Role", "payments", "leeward-agent")]
    granted = {verb for item in roles for rule in item["rules"] for verb in rule["verbs"]}
    assert granted == {"get", "list", "watch"}


@pytest.mark.parametrize("region", REGIONS)
def test_the_instance_manager_understands_its_command(region: str) -> None:
    spec = load(EXAMPLE)
    name = ("StatefulSet", "payments", "payments-postgres")
    (item,) = [item for item in world(spec, region) if key_of(item) == name]
    (container,) = item["spec"]["template"]["spec"]["containers"]
    assert container["command"][:3] == ["python", "-m", "leeward.instance.manager"]
    told = parse([part.replace("$(POD_IP)", "127.10.9.5") for part in container["command"][3:]])
    assert (told.region, told.app) == (region, "payments")
    assert told.listen.port == target.INSTANCE_PORT
    assert told.postgres.port == target.POSTGRES_PORT
    assert sorted(told.upstreams) == sorted(set(REGIONS) - {region})


def test_layers_that_may_not_import_one_another_agree() -> None:
    assert (target.USERS_PORT, target.PEERS_PORT, target.GATEWAY_METRICS_PORT) == (
        envoy.USERS_PORT,
        envoy.PEERS_PORT,
        envoy.METRICS_PORT,
    )
    assert (objects.POD_ADDRESS, objects.PROBE_PERIOD) == (embedded_pods.POD_ADDRESS, embedded_pods.PROBE_PERIOD_S)


def test_what_crosses_the_wan_has_a_door_there() -> None:
    spec = load(EXAMPLE)
    for index, region in enumerate(REGIONS, start=1):
        place = world_target(spec, region, engines=COMMANDS, secrets=secret_values(spec), source_dir="/e")
        endpoints = {f"{address(index, last)}:{port}" for last, port in WAN_ENDPOINTS}
        peer = place.peers[region]
        assert endpoints == {
            peer.agent_url.removeprefix("https://"),
            peer.quorum_peer_url.removeprefix("https://"),
            f"{peer.gateway_host}:{target.PEERS_PORT}",
        }


def both_forms(home: Path, chosen: str) -> tuple[list[KubeObject], list[KubeObject]]:
    """Return a region's objects, of a world and of Kubernetes, with one more line about the database."""
    shutil.copytree(EXAMPLE, home, dirs_exist_ok=True)
    file = home / "application.yaml"
    database = re.search(r"^  database:\n    ", file.read_text("utf-8"), re.MULTILINE)
    assert database is not None
    file.write_text(file.read_text("utf-8").replace(database[0], f"  database:\n    {chosen}\n    "), "utf-8")
    spec = load(home)
    return world(spec, REGIONS[0]), kubernetes(spec, REGIONS[0])


def manager_settings(items: list[KubeObject]) -> ManagerSettings:
    """Return what the instance manager makes of its command line."""
    (found,) = (item for item in items if item["kind"] == "StatefulSet" and "postgres" in item["metadata"]["name"])
    (container,) = found["spec"]["template"]["spec"]["containers"]
    return parse([part.replace("$(POD_IP)", "127.10.9.5") for part in container["command"][3:]])


@pytest.mark.parametrize(("percent", "share"), [(None, 0.5), (0, 0.0), (25, 0.25), (100, 1.0)])
def test_how_much_wal_is_kept_reaches_the_instance_manager(tmp_path: Path, percent: int | None, share: float) -> None:
    for items in both_forms(tmp_path, "" if percent is None else f"walRetention: {percent}"):
        assert manager_settings(items).wal_retention == share


@pytest.mark.parametrize(
    ("chosen", "asks_ahead"), [("", True), ("walPrefetch: true", True), ("walPrefetch: false", False)]
)
def test_whether_the_wal_relay_asks_ahead_reaches_the_instance_manager(
    tmp_path: Path, chosen: str, asks_ahead: bool
) -> None:
    for items in both_forms(tmp_path, chosen):
        assert manager_settings(items).wal_prefetch is asks_ahead


def test_agents_see_exports_where_the_fleet_asks_for_it_and_change_their_status_only() -> None:
    fnp, hello = (load(EXAMPLE.parent / name) for name in ("fnp", "hello"))
    with_exports = compile_cluster(fnp, "fnp-us", engines=COMMANDS)
    without = compile_cluster(hello, "us", engines=COMMANDS)
    rules = [
        rule for item in with_exports if item["metadata"]["name"] == "leeward-agent" for rule in item.get("rules", ())
    ]
    changing = [rule for rule in rules if set(rule["verbs"]) - {"get", "list", "watch"}]
    assert changing == [
        {
            "apiGroups": ["multicluster.x-k8s.io"],
            "resources": ["serviceexports/status", "serviceimports/status"],
            "verbs": ["patch"],
        }
    ]
    (service,) = (item for item in with_exports if item["metadata"]["name"] == "leeward-services")
    assert service["spec"].get("type", "ClusterIP") == "ClusterIP", "users stay outside"
    assert "multicluster" not in json.dumps(without)
    assert "leeward-services" not in {item["metadata"]["name"] for item in without}
