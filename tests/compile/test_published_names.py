"""What regions dial of one another: each name is published, for a load balancer that has the port."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings

from leeward.compile import Images, KubeObject, agent_settings, compile_cluster, kubernetes_target
from leeward.spec import Spec, load
from leeward.world.objects import engine_commands
from tests.compile.evaluate import kind, only
from tests.compile.varieties import specs
from tests.kubernetes.everything import VARIETIES, everything

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = engine_commands()
HOSTNAME = "external-dns.alpha.kubernetes.io/hostname"


def dialled(spec: Spec, caller: str) -> set[tuple[str, str, int]]:
    """Return region, host and port of everything that a region's agent, gateway and etcd call in the others."""
    target = kubernetes_target(spec, caller, engines=COMMANDS, images=Images())
    result = set()
    for each in agent_settings(spec, caller, target).regions:
        urls = [urlsplit(each.agent_url), urlsplit(target.peers[each.name].quorum_peer_url)]
        result |= {(str(each.name), url.hostname or "", url.port or 443) for url in urls}
        result.add((str(each.name), each.gateway_host, each.gateway_port))
    return result


def published(spec: Spec, region: str) -> set[tuple[str, str, int]]:
    """Return the same of what a region's load balancers offer, each under the name that leads to it."""
    items = compile_cluster(spec, spec.clusters(region)[0].name, engines=COMMANDS)
    named = [item for item in kind(items, "Service") if HOSTNAME in item["metadata"].get("annotations", {})]
    hosts = [item["metadata"]["annotations"][HOSTNAME] for item in named]
    assert len(hosts) == len(set(hosts)), "one name would lead to two load balancers"
    assert {item["spec"]["type"] for item in named} <= {"LoadBalancer"}
    return {(region, host, port["port"]) for host, item in zip(hosts, named, strict=True) for port in _ports(item)}


def _ports(service: KubeObject) -> list[KubeObject]:
    ports: list[KubeObject] = service["spec"]["ports"]
    return ports


def _unreachable(spec: Spec) -> set[tuple[str, str, int]]:
    offered = {each for region in spec.regions for each in published(spec, region.name)}
    return {each for region in spec.regions for each in dialled(spec, region.name)} - offered


@pytest.mark.parametrize("example", ["hello", "payments", "fnp"])
def test_what_the_regions_of_an_example_dial_is_published(example: str) -> None:
    assert _unreachable(load(EXAMPLES / example)) == set()


@pytest.mark.parametrize("name", VARIETIES)
def test_what_regions_dial_is_published_whatever_else_the_fleet_has(name: str) -> None:
    assert _unreachable(everything(name)) == set()


@settings(max_examples=10)
@given(specs())
def test_what_the_regions_of_any_fleet_dial_is_published(spec: Spec) -> None:
    assert _unreachable(spec) == set()


def test_the_names_that_providers_records_lead_to_answer_on_the_users_port() -> None:
    spec = load(EXAMPLES / "fnp")
    for region in spec.regions:
        assert (region.name, f"gateway.{region.name}.fnp.example.com", 80) in published(spec, region.name)


def test_the_agent_verifies_its_api_server_by_the_clusters_own_authority() -> None:
    spec = load(EXAMPLES / "hello")
    agent = agent_settings(spec, "us", kubernetes_target(spec, "us", engines=COMMANDS, images=Images()))
    directory, _, token = agent.cluster_token_file.rpartition("/")
    pod = only(compile_cluster(spec, "us", engines=COMMANDS), "Deployment", "leeward")["spec"]["template"]["spec"]
    (container,) = (each for each in pod["containers"] if each["name"] == "agent")
    (mounted,) = (each["name"] for each in container["volumeMounts"] if each["mountPath"] == directory)
    (volume,) = (each for each in pod["volumes"] if each["name"] == mounted)
    account, authority = volume["projected"]["sources"]
    assert account["serviceAccountToken"]["path"] == token
    # Beside the token, under the name by which the agent looks for it; and a name that every API server bears.
    assert authority["configMap"] == {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    assert urlsplit(agent.cluster_url).hostname == "kubernetes.default.svc"
