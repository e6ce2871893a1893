"""Policies with each mesh: exactly those come in that have to, proxies and gateways with them."""

from typing import Any

import pytest

from leeward.compile import KubeObject, compile_cluster
from leeward.compile.kube.objects import selector_of
from leeward.world.objects import engine_commands
from tests.compile.evaluate import End, allowed, kind, only, refused_by_quota
from tests.compile.test_concern_pages import spec_of

COMMANDS = engine_commands()
SHOP = {**selector_of("shop", "service"), "app.kubernetes.io/part-of": "shop"}
SERVICE = End("service", "shop", SHOP)
GATEWAY = End("gateway", "shop", {"gateway.networking.k8s.io/gateway-name": "shop"})
ISTIOD = End("istiod", "istio-system", {"app": "istiod"})
INGRESS, EASTWEST = End("ingress", "istio-ingress"), End("eastwest", "istio-eastwest")
PROMETHEUS, STRANGER = End("prometheus", "monitoring"), End("stranger", "default")
USER, DNS = End("user"), End("dns", "kube-system", {"k8s-app": "kube-dns"})
FAR = End("far", address="10.3.4.5")


def objects(fleet: dict[str, Any], application: dict[str, Any], cluster: str = "fnp-us") -> list[KubeObject]:
    return compile_cluster(spec_of({"monitoring": {}, **fleet}, application), cluster, engines=COMMANDS)


def modes(items: list[KubeObject], pods: dict[str, str]) -> dict[int, str]:
    """Return what Istio asks of connections to pods, by port, as far as that is not mutual TLS."""
    result: dict[int, str] = {}
    for item in kind(items, "PeerAuthentication"):
        selector = item["spec"].get("selector", {}).get("matchLabels")
        if selector and selector.items() <= pods.items():
            result |= {int(port): each["mode"] for port, each in item["spec"]["portLevelMtls"].items()}
    return result


def test_other_clusters_come_by_the_gateway_between_them() -> None:
    policies = kind(objects({"mesh": {"kind": "istio"}}, {}), "NetworkPolicy")
    assert {each.name for each in (INGRESS, EASTWEST, STRANGER, USER) if allowed(policies, each, SERVICE, 8000)} == {
        "ingress",
        "eastwest",
    }


@pytest.mark.parametrize("canary", [{"by": "flagger"}, None])
def test_what_flagger_judges_by_is_scraped(canary: dict[str, str] | None) -> None:
    items = objects({"mesh": {"kind": "istio"}}, {"rollout": {"canary": canary} if canary else {}})
    policies = kind(items, "NetworkPolicy")
    monitor = only(items, "PodMonitor", "shop")["spec"]
    assert {"port": "http-envoy-prom", "path": "/stats/prometheus", "interval": "15s"} in monitor["podMetricsEndpoints"]
    assert all(allowed(policies, PROMETHEUS, SERVICE, port) for port in (15020, 15090))
    assert not any(allowed(policies, STRANGER, SERVICE, port) for port in (15020, 15090))


def test_prometheus_reaches_metrics_from_outside_the_mesh() -> None:
    wanted = {"service": {"metrics": {"port": 9100}}, "sidecars": {"envoy": {}, "metrics": {}}}
    items = objects({"mesh": {"kind": "istio"}}, wanted)
    assert modes(items, SHOP) == dict.fromkeys((9100, 9102, 9902, 15080), "PERMISSIVE")
    assert modes(objects({"mesh": {"kind": "istio"}, "monitoring": None}, wanted), SHOP) == {15080: "PERMISSIVE"}


DATABASES = [
    pytest.param({}, selector_of("shop-postgres", "database"), {5432, 8008}, id="leeward"),
    pytest.param({"operator": "cloudnative-pg"}, {"cnpg.io/cluster": "shop-postgres"}, {5432, 8000, 9187}, id="cnpg"),
    pytest.param(
        {"engine": "cockroachdb"}, selector_of("shop-cockroachdb", "database"), {26257, 8080}, id="cockroachdb"
    ),
]


@pytest.mark.parametrize(("database", "pods", "ports"), DATABASES)
def test_databases_are_called_from_outside_the_mesh(
    database: dict[str, Any], pods: dict[str, str], ports: set[int]
) -> None:
    items = objects({"mesh": {"kind": "istio"}}, {"database": database})
    assert modes(items, pods) == dict.fromkeys(ports, "DISABLE")


def test_a_gateway_of_the_gateway_api_takes_users_and_calls_its_service() -> None:
    items = objects({"mesh": {"kind": "gateway-api"}}, {})
    policies = kind(items, "NetworkPolicy")
    assert allowed(policies, USER, GATEWAY, 443)
    assert allowed(policies, GATEWAY, ISTIOD, 15012)
    assert allowed(policies, GATEWAY, DNS, 53, "UDP")
    assert allowed(policies, GATEWAY, SERVICE, 8000)
    assert allowed(policies, PROMETHEUS, GATEWAY, 15020)
    assert not allowed(policies, USER, GATEWAY, 8000)
    assert not allowed(policies, GATEWAY, End("database", "shop", selector_of("shop-postgres", "database")), 5432)
    assert not any(allowed(policies, each, SERVICE, 8000) for each in (INGRESS, STRANGER, USER))
    assert not allowed(policies, GATEWAY, FAR, 8000)
    exported = objects({"mesh": {"kind": "gateway-api"}, "network": {"exports": True}}, {})
    assert allowed(kind(exported, "NetworkPolicy"), GATEWAY, FAR, 8000)


def test_gateways_elsewhere_are_let_in_from_the_namespace_that_the_fleet_names() -> None:
    mesh = {"kind": "gateway-api", "gatewayClass": "envoy", "gatewayNamespace": "envoy-gateway-system"}
    policies = kind(objects({"mesh": mesh}, {}), "NetworkPolicy")
    assert allowed(policies, End("envoy", "envoy-gateway-system"), SERVICE, 8000)
    assert not allowed(policies, USER, GATEWAY, 443)


def test_the_quota_has_room_for_the_gateway() -> None:
    without = objects({}, {})
    items = objects({"mesh": {"kind": "gateway-api"}}, {})
    own = [item for item in items if item["metadata"].get("namespace") == "shop"]
    assert refused_by_quota(own, meshed=False, versions=1) == []
    few, more = (int(only(each, "ResourceQuota", "shop")["spec"]["hard"]["pods"]) for each in (without, items))
    assert more >= few + 2


def test_googles_front_ends_reach_the_pods_and_ask_for_their_readiness() -> None:
    fleet = {"entry": {"address": "shop"}}
    items = objects(fleet, {"service": {"expose": "cluster", "probes": {"readiness": "/ready"}}}, "fnp-eu")
    policies = kind(items, "NetworkPolicy")
    for address in ("35.191.3.4", "130.211.1.2"):
        assert allowed(policies, End("google", address=address), SERVICE, 8000)
    assert not allowed(policies, USER, SERVICE, 8000)
    service = only(items, "MultiClusterService", "shop-global")
    assert service["metadata"]["annotations"] == {"cloud.google.com/backend-config": '{"default": "shop"}'}
    assert only(items, "BackendConfig", "shop")["spec"]["healthCheck"]["requestPath"] == "/ready"
    elsewhere = kind(objects(fleet, {"service": {"expose": "cluster"}}), "NetworkPolicy")
    assert not allowed(elsewhere, End("google", address="35.191.3.4"), SERVICE, 8000)
