"""What other projects' controllers take: CloudNativePG, Cluster API, Amazon's peering; and what is not said of them."""

from ipaddress import ip_network
from typing import Any

import pytest

from leeward.compile import KubeObject, compile_cluster, compile_parts
from leeward.compile.observe.alerts import alerts_of
from leeward.spec import ProblemsError, Severity
from leeward.world.objects import engine_commands
from tests.compile.evaluate import kind, only
from tests.compile.test_concern_pages import spec_of
from tests.kubernetes.everything import everything

COMMANDS = engine_commands()
CLUSTERS = ("fnp-us", "fnp-eu", "fnp-jp")
CNPG = {"database": {"operator": "cloudnative-pg"}}


def management(fleet: dict[str, Any], cluster: str) -> list[KubeObject]:
    """Return what the management cluster needs to make a cluster."""
    parts = compile_parts(spec_of({"clusterAPI": {}, **fleet}, {}), cluster, engines=COMMANDS)
    (part,) = (each for each in parts if each.name == "cluster-api")
    return list(part.objects)


def refused(fleet: dict[str, Any], application: dict[str, Any]) -> set[str]:
    with pytest.raises(ProblemsError) as caught:
        spec_of(fleet, application)
    return {each.code for each in caught.value.problems if each.severity is Severity.ERROR}


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_cloudnative_pgs_webhook_finds_every_cluster_that_is_named(cluster: str) -> None:
    """As validateReplicaClusterExternalClusters of its webhook asks."""
    spec = only(compile_cluster(spec_of({}, CNPG), cluster, engines=COMMANDS), "Cluster", "shop-postgres")["spec"]
    listed = [each["name"] for each in spec["externalClusters"]]
    assert {spec["replica"][key] for key in ("self", "primary", "source")} <= set(listed)
    assert len(listed) == len(set(listed)) == 3
    assert spec["replica"]["source"] != spec["replica"]["self"]
    if "pg_basebackup" in spec["bootstrap"]:
        assert spec["bootstrap"]["pg_basebackup"]["source"] == spec["replica"]["primary"]
    assert "synchronous" not in spec["postgresql"]


@pytest.mark.parametrize("mode", ["sync", "quorum"])
def test_what_cloudnative_pg_cannot_promise_across_regions_is_refused(mode: str) -> None:
    wanted = {"objectives": {"rto": "30s", "rpo": "0s"}, "database": {**CNPG["database"], "replication": mode}}
    assert refused({}, wanted) == {"operator-replicates-async"}
    warnings = [each.code for each in spec_of({}, CNPG).warnings]
    assert "operator-not-driven" in warnings


@pytest.mark.parametrize("database", [{"operator": "cloudnative-pg"}, {"engine": "cockroachdb"}, {}])
def test_no_alert_is_rendered_that_would_never_end(database: dict[str, str]) -> None:
    (application,) = spec_of({}, {"database": database}).applications
    about = {each.name for each in alerts_of(application, "here") if "leeward_primary" in each.expression}
    never = {each.name for each in alerts_of(application, "here") if "absent(" in each.expression}
    assert about == never == (set() if database else {"LeewardNoPrimary"})


def test_azures_machines_get_zones_by_number_and_subnets_inside_their_network() -> None:
    found = management({}, "fnp-jp")
    domains = [each["spec"]["template"]["spec"]["failureDomain"] for each in kind(found, "MachineDeployment")]
    assert domains == ["1", "2", "3"]
    spec = only(found, "AzureCluster", "fnp-jp")["spec"]["networkSpec"]
    (network,) = map(ip_network, spec["vnet"]["cidrBlocks"])
    ranges = {each["role"]: ip_network(each["cidrBlocks"][0]) for each in spec["subnets"]}
    assert set(ranges) == {"control-plane", "node"}
    assert all(each.subnet_of(network) for each in ranges.values())
    assert not ranges["node"].overlaps(ranges["control-plane"])
    first, *_ = kind(management({}, "fnp-us"), "MachineDeployment")
    assert first["spec"]["template"]["spec"]["failureDomain"] == "us-east-1a"


def test_googles_clusters_are_in_the_project_that_is_stated() -> None:
    assert only(management({}, "fnp-eu"), "GCPCluster", "fnp-eu")["spec"]["project"] == "fnp-production"


@pytest.mark.parametrize(
    "fleet",
    [
        pytest.param({"clusterAPI": {"machines": "m6i.xlarge"}}, id="machines"),
        pytest.param({"nodePools": [{"name": "a", "families": ["m6i"]}]}, id="families"),
    ],
)
def test_one_providers_machines_are_not_asked_of_another(fleet: dict[str, Any]) -> None:
    assert refused(fleet, {}) == {"machines-of-one-provider"}


def test_amazon_is_asked_once_for_each_pair_and_others_at_both_ends() -> None:
    for name, requests in (("aws", 3), ("gcp", 6), ("azure", 6)):
        spec, pairs = everything(f"peered {name}"), []
        for region in spec.regions:
            items = compile_cluster(spec, spec.clusters(region.name)[0].name, engines=COMMANDS)
            pairs += [item["metadata"]["name"] for item in items if "Peering" in item["kind"]]
        assert len(pairs) == len(set(pairs)) == requests
