"""What the objects do, not what they look like: connections, quotas, drains, canaries, tunnels, names."""

import copy
import json
import os
import subprocess
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leeward.compile import KubeObject, compile_cluster, compile_parts
from leeward.compile.kube.objects import selector_of
from leeward.compile.site import all_clusters
from leeward.spec import ProblemsError, Spec, load
from leeward.spec.application import Engine
from leeward.spec.load import documents_of, resolve
from leeward.spec.platform import MeshKind
from leeward.world.objects import engine_commands
from tests.compile.evaluate import End, allowed, analyse, drains, kind, only, permitted, refused_by_quota, unanswered
from tests.compile.structure import faults
from tests.compile.varieties import specs
from tests.kubernetes.everything import VARIETIES, everything

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = engine_commands()
CLUSTERS = [("payments", "atlas-us"), ("hello", "us"), ("fnp", "fnp-us"), ("fnp", "fnp-eu"), ("fnp", "fnp-jp")]

NAMESPACE = "fnp-production"
# As Flagger labels the version that serves.
SERVICE = End("service", NAMESPACE, {**selector_of("fnp-primary", "service"), "app.kubernetes.io/part-of": "fnp"})
DATABASE = End("database", NAMESPACE, selector_of("fnp-postgres", "database"))
FRONTEND = End("frontend", NAMESPACE, {"app.kubernetes.io/component": "frontend"})
STRANGER = End("stranger", NAMESPACE, {"app": "miner"})
GATEWAY = End("gateway", "leeward-system", selector_of("leeward", "agent"))
QUORUM = End("quorum", "leeward-system", selector_of("etcd", "quorum"))
PROMETHEUS = End("prometheus", "monitoring", {"app": "prometheus"})
INGRESS = End("ingress", "istio-ingress", {"istio": "ingress"})
NEIGHBOUR = End("neighbour", "default", {"app": "other"})
COLLECTOR = End("collector", "observability", selector_of("otel-collector", "tracing"))
LOKI = End("loki", "logging", {"app": "loki"})
DNS = End("dns", "kube-system", {"k8s-app": "kube-dns"})
ISTIOD = End("istiod", "istio-system", {"app": "istiod"})
INTERNET = End("internet")
PROCESSOR = End("processor", address="203.0.113.7")
ENDS = [
    *(SERVICE, DATABASE, FRONTEND, STRANGER, GATEWAY, QUORUM, PROMETHEUS, INGRESS, NEIGHBOUR, COLLECTOR, LOKI),
    *(DNS, ISTIOD, INTERNET, PROCESSOR),
]
PORTS = [53, 80, 443, 2379, 2380, 3000, 4317, 5432, 7443, 8000, 8008, 8080, 8443, 9901, 9902]
PORTS += [15001, 15012, 15020, 15080, 15090]

# From the example's files and the concepts page: everything that may happen in these namespaces, and nothing else may.
FOREIGN = (INTERNET, PROCESSOR, FRONTEND, STRANGER, NEIGHBOUR, PROMETHEUS, INGRESS, COLLECTOR, LOKI, DNS, ISTIOD)
EDGES = {
    *((caller.name, "service", 15080) for caller in ENDS if caller.namespace != NAMESPACE or caller is FRONTEND),
    ("prometheus", "service", 8000),
    *(("prometheus", "service", port) for port in (9902, 15020, 15090)),
    ("service", "database", 5432),
    ("gateway", "database", 5432),
    ("gateway", "database", 8008),
    ("service", "gateway", 5432),
    ("service", "collector", 4317),
    ("service", "loki", 80),
    ("service", "processor", 443),
    ("database", "gateway", 15001),
    *((caller.name, "frontend", 3000) for caller in ENDS if caller.namespace != NAMESPACE),
}


def objects(example: str, cluster: str) -> list[KubeObject]:
    return compile_cluster(load(EXAMPLES / example), cluster, engines=COMMANDS)


def test_exactly_the_declared_connections_are_possible() -> None:
    policies = kind(objects("fnp", "fnp-us"), "NetworkPolicy")
    inside = (SERVICE, DATABASE, FRONTEND, STRANGER)
    possible = {
        (source.name, target.name, port)
        for source in ENDS
        for target in ENDS
        for port in PORTS
        if source is not target and (source in inside or target in inside)
        if allowed(policies, source, target, port)
    }
    asked = {edge for edge in possible if edge[1] not in ("dns", "istiod")}
    assert asked == EDGES
    assert {edge for edge in possible if edge[1] == "dns"} == {(each.name, "dns", 53) for each in inside}
    assert {edge for edge in possible if edge[1] == "istiod"} == {(each.name, "istiod", 15012) for each in inside}


@pytest.mark.parametrize(("example", "cluster"), CLUSTERS)
def test_no_liveness_probe_ends_a_service_that_is_still_starting(example: str, cluster: str) -> None:
    for deployment in kind(objects(example, cluster), "Deployment"):
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            if alive := container.get("livenessProbe"):
                startup = container["startupProbe"]
                assert startup["httpGet"] == alive["httpGet"]
                assert startup["failureThreshold"] * startup["periodSeconds"] >= 180
                assert startup["periodSeconds"] <= alive["periodSeconds"]


def test_an_imported_service_is_reached_where_it_is_and_nowhere_else() -> None:
    documents, problems = documents_of(EXAMPLES / "fnp")
    for document in documents:
        if document.data["kind"] == "Application":
            document.data["spec"]["network"]["imports"] = [{"name": "catalogue", "port": 9090}]
    spec = resolve("fnp", documents, problems)
    policies = kind(compile_cluster(spec, "fnp-us", engines=COMMANDS), "NetworkPolicy")
    far = End("far", address="10.3.4.5")  # a pod of fnp-jp
    assert allowed(policies, SERVICE, far, 9090)
    assert not allowed(policies, SERVICE, far, 9091)
    assert not allowed(policies, SERVICE, INTERNET, 9090)
    assert not allowed(policies, FRONTEND, far, 9090)
    assert not allowed(kind(objects("fnp", "fnp-us"), "NetworkPolicy"), SERVICE, far, 9090)


def test_leewards_own_namespace_lets_in_what_the_concepts_page_lists() -> None:
    policies = kind(objects("fnp", "fnp-us"), "NetworkPolicy")
    into = {
        port: {source.name for source in ENDS if source is not GATEWAY and allowed(policies, source, GATEWAY, port)}
        for port in PORTS
    }
    # The users', the peers' and the agent's ports are guarded by TLS; the application's pods have no way out to them.
    outside = {source.name for source in ENDS if source.namespace != NAMESPACE and source is not GATEWAY}
    assert {port for port, names in into.items() if names} == {5432, 7443, 8080, 8443, 9901, 15001}
    assert into[8080] == into[8443] == into[7443] == outside
    assert into[9901] == {"prometheus"}
    assert into[5432] == {"service", "quorum"}
    assert into[15001] == {"database", "quorum"}
    assert {each.name for each in ENDS if each is not QUORUM and allowed(policies, each, QUORUM, 2379)} == {"gateway"}


def test_a_policy_that_is_missing_would_be_noticed() -> None:
    policies = kind(objects("fnp", "fnp-us"), "NetworkPolicy")
    fewer = [policy for policy in policies if policy["metadata"]["name"] != "default-deny"]
    assert not allowed(policies, STRANGER, NEIGHBOUR, 80)
    assert allowed(fewer, STRANGER, End("web"), 53) is False
    assert allowed([], STRANGER, NEIGHBOUR, 80)


def test_behind_envoy_the_service_itself_is_unreachable() -> None:
    policies = kind(objects("fnp", "fnp-us"), "NetworkPolicy")
    callers = {source.name for source in ENDS if source is not SERVICE and allowed(policies, source, SERVICE, 8000)}
    assert callers == {"prometheus"}


@pytest.mark.parametrize(("example", "cluster"), CLUSTERS)
def test_the_quota_admits_the_application_at_its_maximum(example: str, cluster: str) -> None:
    items = [item for item in objects(example, cluster) if item["metadata"].get("namespace", "").startswith(example)]
    versions = 2 if kind(items, "Canary") else 1
    assert refused_by_quota(items, meshed=example == "fnp", versions=versions) == []


@pytest.mark.parametrize("variety", VARIETIES)
def test_the_quota_admits_every_variety_at_its_maximum(variety: str) -> None:
    spec = everything(variety)
    (part,) = (each for each in compile_parts(spec, "us-east-1-1", engines=COMMANDS) if each.kind == "apps")
    items = list(part.objects)
    versions = 2 if kind(items, "Canary") else 1
    meshed = spec.fleet.spec.mesh.kind is MeshKind.ISTIO
    assert refused_by_quota(items, meshed=meshed, versions=versions) == []


# At most 7 pods of the service, 2 of the new version, 100m and 96Mi each; and the database with 250m and 256Mi.
STATED = [("pods", 9, "10"), ("cpu", "1", "1150m"), ("memory", "1Gi", "1120Mi")]


@pytest.mark.parametrize(("key", "value", "need"), STATED)
def test_a_stated_quota_that_would_refuse_something_is_refused(key: str, value: object, need: str) -> None:
    documents, problems = documents_of(EXAMPLES / "payments")
    (document,) = (each for each in documents if each.data["kind"] == "Application")
    (fleet,) = (each for each in documents if each.data["kind"] == "Fleet")
    fleet.data["spec"]["mesh"] = {"kind": "gateway-api", "gatewayNamespace": "gateways"}
    # Room for the service, not for the new version beside it and the database.
    document.data["spec"] |= {"quota": {key: value}, "rollout": {"canary": {"image": "example.com/payments:2"}}}
    with pytest.raises(ProblemsError) as caught:
        compile_cluster(resolve("payments", documents, problems), "atlas-us", engines=COMMANDS)
    (problem,) = caught.value.problems
    assert problem.code == "quota-below-need"
    assert need in problem.what
    document.data["spec"]["quota"] = {key: int(need) if key == "pods" else need}
    compile_cluster(resolve("payments", documents, problems), "atlas-us", engines=COMMANDS)


@pytest.mark.parametrize("variety", VARIETIES)
def test_what_pods_name_is_there(variety: str) -> None:
    spec = everything(variety)
    for _, cluster in all_clusters(spec):
        items = compile_cluster(spec, cluster.name, engines=COMMANDS)
        assert unanswered(items) == []
        fewer = [item for item in items if item["metadata"]["name"] != "shop-keys"]
        assert unanswered(fewer) == ["Secret shop/shop-keys"]


def test_an_operators_database_is_reached_by_what_it_needs() -> None:
    spec = everything("gateway api, wireguard, cloudnative-pg, cloud dns")
    policies = kind(compile_cluster(spec, "us-east-1-1", engines=COMMANDS), "NetworkPolicy")
    # As CloudNativePG labels them, not as we would.
    member, other = (End(name, "shop", {"cnpg.io/cluster": "shop-postgres"}) for name in ("one", "other"))
    service = End("service", "shop", {**selector_of("shop", "service"), "app.kubernetes.io/part-of": "shop"})
    operator = End("operator", "cnpg-system", {"app.kubernetes.io/name": "cloudnative-pg"})
    ends = [other, service, operator, GATEWAY, End("stranger", "shop", {"app": "miner"}), NEIGHBOUR, INTERNET]
    into = {port: {each.name for each in ends if allowed(policies, each, member, port)} for port in (5432, 8000, 9187)}
    assert into == {5432: {"other", "service", "operator", "gateway"}, 8000: {"operator"}, 9187: set()}
    assert allowed(policies, member, INTERNET, 6443)  # the API server
    assert not allowed(policies, member, INTERNET, 80)


def cockroachdb() -> dict[str, list[KubeObject]]:
    """Return the objects of each cluster; the first is the placement's first."""
    spec = everything("plain, cockroachdb, azure dns")
    return {cluster.name: compile_cluster(spec, cluster.name, engines=COMMANDS) for _, cluster in all_clusters(spec)}


def test_one_job_in_the_first_cluster_starts_a_database_of_equals() -> None:
    clusters = cockroachdb()
    counts = {name: len(kind(items, "Job")) for name, items in clusters.items()}
    assert counts == {"us-east-1-1": 1, "europe-west1-1": 0, "japaneast-1": 0}
    roots = {name: len([item for item in items if _is_root(item)]) for name, items in clusters.items()}
    assert roots == counts
    items = clusters["us-east-1-1"]
    (job,) = kind(items, "Job")
    members = only(items, "StatefulSet", "shop-cockroachdb")
    pod = End("job", "shop", job["spec"]["template"]["metadata"]["labels"])
    member = End("member", "shop", members["spec"]["template"]["metadata"]["labels"])
    far = End("far", address="10.2.3.4")  # a member in japaneast
    policies = kind(items, "NetworkPolicy")
    ends = [member, far, End("stranger", "shop", {"app": "miner"}), GATEWAY, NEIGHBOUR, INTERNET]
    ways = {(each.name, port) for each in ends for port in (80, 8080, 26257) if allowed(policies, pod, each, port)}
    assert ways == {("member", 26257), ("far", 26257)}
    assert not [each.name for each in ends if allowed(policies, each, pod, 26257)]
    assert allowed(policies, pod, DNS, 53, "UDP")
    # There the asking pod is an address.
    there = kind(clusters["japaneast-1"], "NetworkPolicy")
    assert allowed(there, End("job", address="10.0.3.4"), member, 26257)
    # It is as unprivileged as the members, and no service leads to it.
    parts = [item for item in items if item["metadata"]["name"].startswith("shop-cockroachdb")]
    secrets = [("Secret", "shop", item["metadata"]["name"]) for item in kind(parts, "ExternalSecret")]
    assert faults([only(items, "Namespace", "shop"), *parts], external=secrets) == []


def _is_root(item: KubeObject) -> bool:
    return bool(item["kind"] == "ExternalSecret" and item["metadata"]["name"] == "shop-cockroachdb-root")


COCKROACH = """\
if [ "$1" = node ]; then
  case " $MEMBERS " in *" ${3#--host=} "*) exit 0 ;; esac
  exit 1
fi
echo "init ${2#--host=}" >>"$CALLS"
echo "$SAID"
exit "$CODE"
"""
"""Answers as cockroach does: ``node ls`` of a member of a cluster, and ``init`` as told."""
INITIALISED = "ERROR: cluster has already been initialized"


@pytest.mark.parametrize(
    ("member", "said", "code", "result", "asked"),
    [
        pytest.param("", "Cluster successfully initialized", 0, 0, True, id="a new cluster"),
        pytest.param("", INITIALISED, 1, 0, True, id="started before, and nobody else answers"),
        pytest.param("", "ERROR: server closed the connection", 1, 1, True, id="the member is not there yet"),
        pytest.param("last", "Cluster successfully initialized", 0, 0, False, id="lost its volume, the others live"),
    ],
)
def test_starting_a_database_again_does_no_harm(
    tmp_path: Path, member: str, said: str, code: int, result: int, asked: bool
) -> None:
    (job,) = kind(cockroachdb()["us-east-1-1"], "Job")
    shell, option, script, *arguments = job["spec"]["template"]["spec"]["containers"][0]["command"]
    first, *others = arguments[1:]
    assert first == "shop-cockroachdb-0.shop-cockroachdb.shop.svc.cluster.us-east-1:26257"
    program, calls = tmp_path / "cockroach", tmp_path / "calls"
    program.write_text(f"#!/bin/sh\n{COCKROACH}", "utf-8")
    program.chmod(0o700)
    run = subprocess.run(
        [shell, option, script.replace("/cockroach/cockroach", str(program)), *arguments],
        env={
            **os.environ,
            "MEMBERS": others[-1] if member else "",
            "CALLS": str(calls),
            "SAID": said,
            "CODE": str(code),
        },
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == result
    assert (calls.read_text("utf-8") if calls.exists() else "") == (f"init {first}\n" if asked else "")
    assert said in run.stdout if asked else others[-1] in run.stdout


def test_a_changed_job_has_another_name() -> None:
    names = set()
    for command in ("istio, flagger, weighted route53", "plain, cockroachdb, azure dns"):
        documents = everything(command)
        database = {"engine": Engine.COCKROACHDB}
        (shop,) = documents.applications
        changed = shop.model_copy(
            update={"spec": shop.spec.model_copy(update={"database": shop.spec.database.model_copy(update=database)})}
        )
        items = compile_cluster(replace(documents, applications=(changed,)), "us-east-1-1", engines=COMMANDS)
        (job,) = kind(items, "Job")
        annotations = job["spec"]["template"]["metadata"].get("annotations", {})
        assert ("sidecar.istio.io/nativeSidecar" in annotations) == command.startswith("istio")
        assert unanswered(items) == []
        names.add(job["metadata"]["name"])
    assert len(names) == 2


@pytest.mark.parametrize("key", ["pods", "requests.cpu", "requests.memory", "limits.memory"])
def test_a_quota_much_smaller_would_refuse(key: str) -> None:
    items = copy.deepcopy(objects("payments", "atlas-us"))
    items = [item for item in items if item["metadata"].get("namespace") == "payments"]
    (quota,) = kind(items, "ResourceQuota")
    quota["spec"]["hard"][key] = {"pods": "3", "requests.cpu": "500m"}.get(key, "300Mi")
    assert [line.partition(":")[0] for line in refused_by_quota(items, meshed=False, versions=1)] == [key]


@settings(max_examples=25)
@given(specs(), st.data())
def test_any_applications_quota_admits_it_and_its_budget_permits_a_drain(spec: Spec, data: st.DataObject) -> None:
    (application,) = spec.applications
    app = application.metadata.name
    region = data.draw(st.sampled_from(spec.placement(application)))
    cluster = spec.clusters(region)[0].name
    (part,) = (each for each in compile_parts(spec, cluster, engines=COMMANDS) if each.kind == "apps")
    items = list(part.objects)
    assert refused_by_quota(items, meshed=False, versions=1) == []
    assert drains(items, app, application.spec.service.replicas)


@pytest.mark.parametrize(("example", "cluster"), CLUSTERS)
def test_a_node_can_be_drained(example: str, cluster: str) -> None:
    assert drains(objects(example, cluster), example, 2)


@pytest.mark.parametrize("gateway", ["istio-ingress", "istio-eastwest"])
def test_a_node_with_a_gateway_of_istio_can_be_drained_and_one_gateway_stays(gateway: str) -> None:
    items = objects("fnp", "fnp-us")
    replicas = only(items, "Deployment", gateway)["spec"]["replicas"]
    assert drains(items, gateway, replicas)
    (budget,) = (each for each in kind(items, "PodDisruptionBudget") if each["metadata"]["name"] == gateway)
    assert replicas - budget["spec"]["maxUnavailable"] >= 1


def test_a_good_canary_takes_ten_steps_and_then_wins() -> None:
    canary = only(objects("fnp", "fnp-us"), "Canary", "fnp")
    outcome = analyse(canary, repeat(True, 100))
    assert outcome.promoted
    assert outcome.weights == (5, 10, 15, 20, 25, 30, 35, 40, 45, 50)
    assert outcome.seconds == 11 * 30


@pytest.mark.parametrize("good", [0, 1, 7])
def test_a_bad_canary_goes_back_after_five_bad_rounds(good: int) -> None:
    canary = only(objects("fnp", "fnp-us"), "Canary", "fnp")
    outcome = analyse(canary, chain(repeat(True, good), repeat(False, 100)))
    assert not outcome.promoted
    assert outcome.weights[-1] == 0
    assert max((0, *outcome.weights)) == 5 * good
    assert outcome.seconds == (good + 5) * 30


def test_the_tunnels_agree_with_one_another() -> None:
    ends = {}
    spec = load(EXAMPLES / "fnp")
    for cluster in ("fnp-us", "fnp-eu", "fnp-jp"):
        text = only(kind(objects("fnp", cluster), "ConfigMap"), "ConfigMap", "wireguard")["data"]["wg0.conf"]
        head, *peers = text.split("[Peer]")
        fields = [dict(line.split(" = ", 1) for line in each.splitlines() if " = " in line) for each in (head, *peers)]
        ends[cluster] = fields
        assert "PrivateKey" not in text
    keys = {
        each.name: each.tunnel.public_key
        for region in spec.regions
        for each in spec.clusters(region.name)
        if each.tunnel is not None
    }
    for cluster, (own, *peers) in ends.items():
        address = own["Address"].partition("/")[0]
        assert len(peers) == 2
        for other, (_, *theirs) in ends.items():
            if other == cluster:
                continue
            # Whoever knows this cluster's key routes its tunnel address and its pods to it.
            (seen,) = (peer for peer in theirs if peer["PublicKey"] == keys[cluster])
            assert f"{address}/32" in seen["AllowedIPs"]
        routes = [route for peer in peers for route in peer["AllowedIPs"].split(", ")]
        assert len(routes) == len(set(routes))


def test_a_name_is_asked_of_its_region() -> None:
    for cluster, own in (("fnp-us", "us-east-1"), ("fnp-jp", "japaneast")):
        text = only(objects("fnp", cluster), "ConfigMap", "coredns-custom")["data"]["leeward.server"]
        blocks = {block.split(":53")[0].removeprefix("cluster."): block for block in text.split("\n\n")}
        assert set(blocks) == {"us-east-1", "europe-west1", "japaneast"}
        assert "kubernetes cluster.local" in blocks[own]
        forwards = {
            name: block.split("forward . ")[1].split(" {")[0] for name, block in blocks.items() if "forward" in block
        }
        addresses = {"us-east-1": "10.101.0.10", "europe-west1": "10.102.0.10", "japaneast": "10.103.0.10"}
        assert forwards == {name: address for name, address in addresses.items() if name != own}


def test_each_regions_requests_fail_over_to_the_nearest_other() -> None:
    (rule,) = kind(objects("fnp", "fnp-eu"), "DestinationRule")
    pairs = {
        each["from"]: each["to"]
        for each in rule["spec"]["trafficPolicy"]["loadBalancer"]["localityLbSetting"]["failover"]
    }
    assert pairs == {"us-east-1": "europe-west1", "europe-west1": "us-east-1", "japaneast": "us-east-1"}


def test_route_53_sends_the_user_to_a_region_that_answers() -> None:
    seen = {}
    for cluster in ("fnp-us", "fnp-eu", "fnp-jp"):
        items = objects("fnp", cluster)
        (names,) = kind(items, "DNSEndpoint")
        (check,) = kind(items, "HealthCheck")
        (record,) = kind(items, "RecordSet")
        (own,) = names["spec"]["endpoints"]
        assert check["spec"]["healthCheckConfig"]["fullyQualifiedDomainName"] == own["dnsName"]
        # By name, in the same namespace: the id is Amazon's.
        assert record["spec"]["healthCheckRef"]["from"]["name"] == check["metadata"]["name"]
        assert record["metadata"]["namespace"] == check["metadata"]["namespace"]
        assert [each["value"] for each in record["spec"]["resourceRecords"]] == own["targets"]
        assert record["spec"]["ttl"] == 10
        seen[record["spec"]["setIdentifier"]] = (record["spec"]["name"], record["spec"]["region"])
    assert seen == {
        "us-east-1": ("fnp.fnp.example.com.", "us-east-1"),
        "europe-west1": ("fnp.fnp.example.com.", "eu-central-1"),
        "japaneast": ("fnp.fnp.example.com.", "ap-northeast-1"),
    }


@pytest.mark.parametrize("cluster", ["fnp-us", "fnp-eu", "fnp-jp"])
def test_argo_cd_reaches_its_own_regions_clusters_and_no_others(cluster: str) -> None:
    project = only(objects("fnp", cluster), "AppProject", "fnp")
    reached = {name for name in ("fnp-us", "fnp-eu", "fnp-jp", "stranger") if permitted(project, name, "fnp")}
    assert reached == {cluster}


def test_a_change_goes_cluster_by_cluster_and_each_region_has_its_own_branch() -> None:
    branches = set()
    for cluster, region in (("fnp-us", "us-east-1"), ("fnp-eu", "europe-west1"), ("fnp-jp", "japaneast")):
        spec = only(objects("fnp", cluster), "ApplicationSet", "fnp")["spec"]
        (step,) = spec["strategy"]["rollingSync"]["steps"]
        (chosen,) = step["matchExpressions"]
        assert spec["template"]["metadata"]["labels"][chosen["key"]] == region
        # A number: text is a percentage to Argo CD.
        assert (chosen["values"], step["maxUpdate"]) == ([region], 1)
        branches.add(spec["template"]["spec"]["source"]["targetRevision"])
    assert len(branches) == 3


def test_a_project_of_two_clusters_is_one_that_argo_cd_takes() -> None:
    documents, problems = documents_of(EXAMPLES / "fnp")
    for document in documents:
        if document.data["kind"] == "Fleet":
            document.data["spec"]["network"] = {}
            document.data["spec"]["regions"][0]["clusters"].append({"name": "fnp-us-2", "podCIDR": "10.4.0.0/16"})
    spec = resolve("fnp", documents, problems)
    project = only(compile_cluster(spec, "fnp-us", engines=COMMANDS), "AppProject", "fnp")
    assert all(permitted(project, name, "fnp") for name in ("fnp-us", "fnp-us-2"))
    assert not permitted(project, "fnp-eu", "fnp")


def test_every_alert_has_the_runbook_that_is_rendered() -> None:
    from leeward.compile.tree.tree import tree

    files = tree(load(EXAMPLES / "fnp"), engines=COMMANDS)
    (rules,) = kind(objects("fnp", "fnp-us"), "PrometheusRule")
    for rule in rules["spec"]["groups"][0]["rules"]:
        page = rule["annotations"]["runbook_url"].rpartition("/")[2].partition("#")[0]
        assert f"apps/fnp/runbooks/{page}.md" in files


def test_a_change_of_version_changes_templates_by_name(tmp_path: Path) -> None:
    def machines(text: str) -> tuple[set[str], str]:
        (tmp_path / "fleet.yaml").write_text(text, "utf-8")
        (tmp_path / "application.yaml").write_text((EXAMPLES / "fnp" / "application.yaml").read_text("utf-8"), "utf-8")
        parts = compile_parts(load(tmp_path), "fnp-us", engines=COMMANDS)
        (part,) = (each for each in parts if each.name == "cluster-api")
        plane = only(part.objects, "KubeadmControlPlane", "fnp-us")
        return {each["metadata"]["name"] for each in kind(part.objects, "AWSMachineTemplate")}, plane["spec"]["version"]

    text = (EXAMPLES / "fnp" / "fleet.yaml").read_text("utf-8")
    before, old = machines(text)
    after, new = machines(text.replace("1.33.4", "1.34.1", 1))
    assert (old, new) == ("v1.33.4", "v1.34.1")
    assert before.isdisjoint(after)


def test_no_value_that_should_be_secret_is_in_a_tree() -> None:
    from leeward.compile.tree.tree import tree

    for example in ("hello", "payments", "fnp"):
        files = tree(load(EXAMPLES / example), engines=COMMANDS)
        assert "kind: Secret\n" not in "".join(files.values())


def test_metrics_are_scraped_where_they_are_shown() -> None:
    items = objects("fnp", "fnp-us")
    (monitor,) = (each for each in kind(items, "PodMonitor") if each["metadata"]["name"] == "fnp")
    pod = only(items, "Deployment", "fnp")["spec"]["template"]["spec"]
    ports = {port["name"] for container in pod["containers"] for port in container["ports"]}
    # The last is a port of the proxy that Istio adds.
    assert {each["port"] for each in monitor["spec"]["podMetricsEndpoints"]} <= {*ports, "http-envoy-prom"}


def test_settings_in_config_maps_are_what_their_readers_parse() -> None:
    items = objects("fnp", "fnp-us")
    for name, key in (
        ("fnp-envoy", "envoy.json"),
        ("fnp-fluent-bit", "fluent-bit.yaml"),
        ("fnp-dashboard", "fnp.json"),
    ):
        assert json.loads(only(items, "ConfigMap", name)["data"][key])
