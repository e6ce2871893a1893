"""Further clusters of a region: their pods find the databases in the first one, and are let through both ways."""

from typing import Any

import pytest
import yaml

from leeward.compile import KubeObject, compile_cluster
from leeward.spec import Spec
from leeward.spec.load import resolve
from leeward.spec.source import read
from leeward.world.objects import engine_commands
from tests.compile.evaluate import End, allowed, kind, only

COMMANDS = engine_commands()
CLUSTERED = "svc.clusterset.local"
HOME, SECOND, FAR = "us-a", "us-b", "eu-a"
POD = {HOME: "10.1.0.7", SECOND: "10.2.0.7", FAR: "10.3.0.7"}
DATABASES: dict[str, dict[str, Any]] = {
    "leeward": {},
    "cloudnative-pg": {"operator": "cloudnative-pg"},
    "cockroachdb": {"engine": "cockroachdb"},
}
MEMBERS = {
    "leeward": {"app.kubernetes.io/name": "shop-postgres", "app.kubernetes.io/component": "database"},
    "cloudnative-pg": {"cnpg.io/cluster": "shop-postgres"},
    "cockroachdb": {"app.kubernetes.io/name": "shop-cockroachdb", "app.kubernetes.io/component": "database"},
}
SERVICE = {"app.kubernetes.io/name": "shop", "app.kubernetes.io/component": "service"}
GATEWAY = {"app.kubernetes.io/name": "leeward", "app.kubernetes.io/component": "agent"}


def spec_of(database: dict[str, Any], mesh: str) -> Spec:
    def region(name: str, *clusters: str, latitude: float) -> dict[str, Any]:
        return {
            "name": name,
            "location": {"latitude": latitude, "longitude": 0},
            "clusters": [{"name": each, "podCIDR": POD[each].replace(".0.7", ".0.0/16")} for each in clusters],
        }

    regions = [region("us", HOME, SECOND, latitude=40), region("eu", FAR, latitude=50)]
    regions.append({"name": "jp", "location": {"latitude": 35, "longitude": 139}})
    service = {"image": "example.com/shop:1", "command": ["shop"]}
    documents = [
        {"kind": "Fleet", "metadata": {"name": "world"}, "spec": {"regions": regions, "mesh": {"kind": mesh}}},
        {"kind": "Application", "metadata": {"name": "shop"}, "spec": {"service": service, "database": database}},
    ]
    text = yaml.safe_dump_all([{"apiVersion": "leeward.dev/v1alpha1", **each} for each in documents])
    return resolve("world.yaml", *read("world.yaml", text))


@pytest.mark.parametrize("mesh", ["none", "istio"])
@pytest.mark.parametrize("name", DATABASES)
def test_the_second_clusters_pods_reach_the_regions_database(name: str, mesh: str) -> None:
    spec = spec_of(DATABASES[name], mesh)
    home, second = (compile_cluster(spec, each, engines=COMMANDS) for each in (HOME, SECOND))
    variables = variables_of(second)
    for prefix in ("DATABASE", "DATABASE_READ"):
        host, port = variables[f"{prefix}_HOST"], int(variables[f"{prefix}_PORT"])
        service, namespace, domain = host.split(".", 2)
        assert domain == CLUSTERED
        # Exported there; and imported into a namespace that is here.
        exported = [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in kind(home, "ServiceExport")]
        assert (namespace, service) in exported
        assert only(second, "Namespace", namespace)
        labels = GATEWAY if namespace == "leeward-system" else MEMBERS[name]
        pod_port = ports_behind(home, service, port)
        for items, source, target in (
            (second, End("service", "shop", SERVICE), End("there", address=POD[HOME])),
            (home, End("there", address=POD[SECOND]), End("database", namespace, labels)),
        ):
            assert allowed(kind(items, "NetworkPolicy"), source, target, pod_port), (prefix, target)
        # Other regions' pods and strangers are kept out as before; CockroachDB's members are in all of them.
        for stranger in ("192.0.2.9", *(() if name == "cockroachdb" else (POD[FAR],))):
            outside = End("outside", address=stranger)
            assert not allowed(kind(home, "NetworkPolicy"), outside, End("database", namespace, labels), pod_port)


def variables_of(items: list[KubeObject]) -> dict[str, str]:
    """Return the environment of the service's pods."""
    (container,) = only(items, "Deployment", "shop")["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", "") for each in container["env"]}


def ports_behind(items: list[KubeObject], service: str, port: int) -> int:
    """Return the pods' port that a service leads to: the same for one that an operator makes."""
    found = [each for each in kind(items, "Service") if each["metadata"]["name"] == service]
    for each in found[0]["spec"]["ports"] if found else ():
        if each["port"] == port and isinstance(each["targetPort"], str):
            return port_named(items, each["targetPort"])
    return port


def port_named(items: list[KubeObject], name: str) -> int:
    """Return the number of a container's port."""
    workloads = [*kind(items, "Deployment"), *kind(items, "StatefulSet")]
    found = {
        port["containerPort"]
        for item in workloads
        for container in item["spec"]["template"]["spec"]["containers"]
        for port in container.get("ports", ())
        if port["name"] == name
    }
    (number,) = found
    return int(number)


def test_a_region_of_one_cluster_exports_no_database() -> None:
    items = compile_cluster(spec_of({}, "none"), FAR, engines=COMMANDS)
    assert kind(items, "ServiceExport") == []
    blocks = [peer for policy in kind(items, "NetworkPolicy") for peer in blocks_of(policy)]
    assert blocks == []


def blocks_of(policy: KubeObject) -> list[str]:
    """Return the addresses that a policy lets in."""
    peers = [peer for rule in policy["spec"].get("ingress", ()) for peer in rule.get("from", ())]
    return [peer["ipBlock"]["cidr"] for peer in peers if "ipBlock" in peer]
