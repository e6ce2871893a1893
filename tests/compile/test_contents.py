"""What pods read is part of their template: a change of it starts them anew, and nothing else does."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leeward.compile import KubeObject, compile_cluster
from leeward.compile.kube.contents import contents, with_content_hash
from leeward.compile.site import all_clusters
from leeward.spec import Spec, load
from leeward.spec.load import documents_of, resolve
from leeward.world.objects import engine_commands
from tests.compile.structure import key_of
from tests.compile.varieties import specs
from tests.kubernetes.everything import VARIETIES, everything

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = engine_commands()
IDENTITIES = ("-identity", "leeward-agent", "leeward-gateway", "leeward-store-client", "leeward-store-member")
"""How the names end of Secrets with certificates, which are read again while a pod runs."""
MAPS, SECRETS = ("configMap", "configMapRef", "configMapKeyRef"), ("secret", "secretRef", "secretKeyRef")


def names_in(value: Any, keys: tuple[str, ...]) -> Iterator[str]:
    """Yield the names that any part of a pod gives under these keys."""
    if isinstance(value, list):
        for each in value:
            yield from names_in(each, keys)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key in keys and isinstance(inner, dict):
                yield from (inner[name] for name in ("name", "secretName") if name in inner)
            yield from names_in(inner, keys)


def readers(items: list[KubeObject], content: KubeObject) -> list[KubeObject]:
    """Return the workloads whose pods mount or read an object; a job runs once."""
    keys = MAPS if content["kind"] == "ConfigMap" else SECRETS
    name, namespace = content["metadata"]["name"], content["metadata"]["namespace"]
    return [
        item
        for item in items
        if item["metadata"].get("namespace") == namespace and item["kind"] != "Job"
        if name in names_in(item.get("spec", {}).get("template", {}).get("spec"), keys)
    ]


def changed(content: KubeObject) -> KubeObject:
    """Return an object with other content."""
    result = copy.deepcopy(content)
    if content["kind"] == "ConfigMap":
        result["data"][next(iter(result["data"]))] += " "
    else:
        result["spec"]["data"][0]["remoteRef"]["key"] += "-2"
    return result


def unnoticed(spec: Spec, cluster: str) -> list[str]:
    """Return each change of what pods read that leaves one of their templates as it is, or touches another's."""
    items, faults = compile_cluster(spec, cluster, engines=COMMANDS), []
    renewed = {each["metadata"]["name"] for each in items if each["metadata"]["name"].endswith(IDENTITIES)}
    known = contents(items)
    for item in items:
        if item["kind"] not in ("ConfigMap", "ExternalSecret"):
            continue
        certificates = item["kind"] != "ConfigMap" and item["metadata"]["name"].endswith(IDENTITIES)
        expected = [] if certificates else [key_of(each) for each in readers(items, item)]
        other = {**known, **contents([changed(item)])}
        after = [with_content_hash(each, other, renewed_in_place=renewed) for each in items]
        found = [key_of(each) for each, was in zip(after, items, strict=True) if each != was]
        if found != expected:
            faults.append(f"{key_of(item)}: {found} start anew, {expected} read it")
    return faults


@pytest.mark.parametrize("example", ["hello", "payments", "fnp"])
def test_any_change_of_what_pods_of_an_example_read_changes_their_template(example: str) -> None:
    spec = load(EXAMPLES / example)
    assert [fault for _, cluster in all_clusters(spec) for fault in unnoticed(spec, cluster.name)] == []


@pytest.mark.parametrize("name", VARIETIES)
def test_any_change_of_what_pods_read_changes_their_template_whatever_else_there_is(name: str) -> None:
    spec = everything(name)
    assert [fault for _, cluster in all_clusters(spec) for fault in unnoticed(spec, cluster.name)] == []


@settings(max_examples=15)
@given(specs(), st.data())
def test_any_change_of_what_pods_of_any_fleet_read_changes_their_template(spec: Spec, data: st.DataObject) -> None:
    region = data.draw(st.sampled_from(spec.regions))
    assert unnoticed(spec, spec.clusters(region.name)[0].name) == []


def put(data: dict[str, Any], *steps: str | int, value: Any) -> None:
    """Set a value in a document."""
    *path, last = steps
    for step in path:
        data = data[step] if isinstance(step, int) else data.setdefault(step, {})
    data[last] = value


CHANGES = [
    pytest.param("Application", ("service", "config", "FNP_PAGE_SIZE"), "51", "fnp-config", id="a variable"),
    pytest.param("Application", ("traffic", "retries"), {"attempts": 3}, "fnp-envoy", id="retries"),
    pytest.param("Application", ("objectives", "rto"), "60s", "leeward-agent", id="an objective"),
    pytest.param("Fleet", ("links", 0, "rtt"), "90ms", "leeward-agent", id="a link"),
    pytest.param("Fleet", ("logging", "lokiHost"), "loki.example.com", "fluent-bit", id="where logs go"),
    pytest.param("Fleet", ("tracing", "jaeger"), "jaeger.example.com:4317", "otel-collector", id="where traces go"),
    pytest.param(
        "Fleet", ("regions", 1, "clusters", 0, "tunnel", "endpoint"), "t.example.com", "wireguard", id="a tunnel's end"
    ),
]


@pytest.mark.parametrize(("document", "place", "value", "name"), CHANGES)
def test_a_change_of_the_files_starts_the_pods_that_read_it(
    document: str, place: tuple[str | int, ...], value: Any, name: str
) -> None:
    before = compile_cluster(load(EXAMPLES / "fnp"), "fnp-us", engines=COMMANDS)
    documents, problems = documents_of(EXAMPLES / "fnp")
    for each in documents:
        if each.data["kind"] == document:
            put(each.data["spec"], *place, value=value)
    after = compile_cluster(resolve("fnp", documents, problems), "fnp-us", engines=COMMANDS)
    was = {key_of(item): item for item in before}
    maps = [item for item in after if item["kind"] == "ConfigMap" and item != was[key_of(item)]]
    assert name in {item["metadata"]["name"] for item in maps}
    for item in maps:
        for reader in readers(after, item):
            assert reader["spec"]["template"] != was[key_of(reader)]["spec"]["template"], key_of(reader)


def test_a_renewed_certificate_starts_nothing() -> None:
    """Otherwise each renewal would move a primary."""
    pod = {"containers": [{"name": "a"}], "volumes": [{"name": "i", "secret": {"secretName": "shop-identity"}}]}
    spec = {"template": {"metadata": {"labels": {}}, "spec": pod}}
    workload = {"kind": "StatefulSet", "metadata": {"name": "shop", "namespace": "shop"}, "spec": spec}
    sealed = {
        "kind": "SealedSecret",
        "metadata": {"name": "shop-identity", "namespace": "shop"},
        "spec": {"encryptedData": {"tls.key": "AgB"}},
    }
    known = contents([sealed])
    assert with_content_hash(workload, known, renewed_in_place={"shop-identity"}) == workload
    assert with_content_hash(workload, known) != workload
