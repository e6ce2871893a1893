"""Two applications in one fleet on Kubernetes: what they share, what is each one's own, and who may talk to whom."""

from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from leeward.compile import KubeObject
from leeward.compile.cluster import compile_cluster
from leeward.compile.tree.tree import tree
from leeward.spec import Spec, load
from leeward.world.objects import engine_commands
from tests.compile.evaluate import End, allowed, kind
from tests.compile.structure import key_of
from tests.compile.test_region import readable
from tests.conftest import Golden

EXAMPLE = Path(__file__).parents[2] / "examples" / "payments"
GOLDEN = Path(__file__).parent / "several" / "gateway-atlas-eu.yaml"
COMMANDS = engine_commands()
PAYMENTS = load(EXAMPLE)


def joined(name: str = "orders", *regions: str) -> Spec:
    """Return the example's fleet with one more application before its own, placed in these regions or in all."""
    (own,) = PAYMENTS.applications
    placement = own.spec.placement.model_copy(update={"regions": regions or own.spec.placement.regions})
    other = own.model_copy(
        update={
            "metadata": own.metadata.model_copy(update={"name": name}),
            "spec": own.spec.model_copy(update={"placement": placement}),
        }
    )
    return replace(PAYMENTS, applications=(other, own))


def objects(spec: Spec, cluster: str) -> list[KubeObject]:
    return compile_cluster(spec, cluster, engines=COMMANDS)


@pytest.mark.parametrize("cluster", ["atlas-us", "atlas-eu", "atlas-jp"])
def test_who_joins_changes_leewards_own_pod_and_no_other_application(cluster: str) -> None:
    after = objects(joined(), cluster)
    assert [key for key, count in Counter(map(key_of, after)).items() if count > 1] == []
    known = {key_of(item): item for item in after}
    changed = {key_of(item) for item in objects(PAYMENTS, cluster) if known[key_of(item)] != item}
    assert changed == {
        ("ConfigMap", "leeward-system", "leeward-agent"),
        ("Deployment", "leeward-system", "leeward"),
        ("NetworkPolicy", "leeward-system", "leeward"),
    }


def test_the_tree_of_an_application_is_the_same_alone_and_in_company() -> None:
    alone, after = (tree(spec, engines=COMMANDS) for spec in (PAYMENTS, joined()))
    own = [path for path in alone if path.startswith("apps/payments/")]
    assert own
    assert [path for path in own if after[path] != alone[path]] == []


def test_the_gateway_of_two_applications(golden: Golden) -> None:
    """In Europe there is no database of the other one: no way leads there."""
    found = [
        item
        for item in objects(joined("orders", "us-east-1", "japaneast"), "atlas-eu")
        if item["metadata"].get("namespace") == "leeward-system" and item["kind"] in ("NetworkPolicy", "Service")
        if item["metadata"]["name"] in ("leeward", "gateway-orders", "gateway-payments")
    ]
    golden(GOLDEN, readable(found))


GATEWAY = End(
    "gateway", "leeward-system", {"app.kubernetes.io/name": "leeward", "app.kubernetes.io/component": "agent"}
)


def pods(app: str, name: str, component: str) -> End:
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/component": component}
    return End(f"{app} {component}", app, labels)


def test_each_reaches_its_own_database_through_the_gateway_and_no_other() -> None:
    policies = kind(objects(joined(), "atlas-us"), "NetworkPolicy")
    ends = {
        (app, part): pods(app, name, part)
        for app in ("orders", "payments")
        for name, part in ((app, "service"), (f"{app}-postgres", "database"))
    }
    ports = (5432, 5433, 15001, 15002, 15003, 15101, 15102, 15103)
    ways = {(*who, port) for who, port in product(ends, ports) if allowed(policies, ends[who], GATEWAY, port)}
    assert ways == {
        ("orders", "service", 5432),
        ("payments", "service", 5433),
        *(("orders", "database", port) for port in (15001, 15002, 15003)),
        *(("payments", "database", port) for port in (15101, 15102, 15103)),
    }
    direct = {
        (source, target)
        for source, target in product(ends, ends)
        if target[1] == "database" and allowed(policies, ends[source], ends[target], 5432)
    }
    assert direct == {((app, "service"), (app, "database")) for app in ("orders", "payments")}
    assert all(allowed(policies, GATEWAY, ends[app, "database"], 5432) for app in ("orders", "payments"))
