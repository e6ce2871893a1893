"""Versions beside each other: whose pods are whose, who decides their number, and what is judged by which metric."""

from typing import Any

import pytest

from leeward.compile import KubeObject, compile_cluster
from leeward.spec import Spec
from leeward.world.objects import engine_commands
from tests.compile.evaluate import kind, only
from tests.compile.test_concern_pages import spec_of

COMMANDS = engine_commands()
OURS = {"by": "leeward", "image": "example.com/shop:2", "weight": 25}
FLAGGERS = {"by": "flagger"}


def objects(
    mesh: str, canary: dict[str, Any] | None, *, service: dict[str, Any] | None = None, **more: Any
) -> list[KubeObject]:
    application = {
        "rollout": {"canary": canary} if canary else {},
        "service": {"replicas": 3, **(service or {})},
        **more,
    }
    spec: Spec = spec_of({"mesh": {"kind": mesh}, "monitoring": {}}, application)
    return compile_cluster(spec, "fnp-us", engines=COMMANDS)


@pytest.mark.parametrize("canary", [OURS, None], ids=["a canary", "none"])
def test_no_deployment_takes_the_other_versions_pods_for_its_own(canary: dict[str, Any] | None) -> None:
    """Nor the autoscaler, which measures the pods that its deployment selects."""
    found = [item for item in kind(objects("istio", canary), "Deployment") if item["metadata"]["namespace"] == "shop"]
    assert len(found) == (2 if canary else 1)
    for one in found:
        selector = one["spec"]["selector"]["matchLabels"].items()
        selected = [each for each in found if selector <= each["spec"]["template"]["metadata"]["labels"].items()]
        assert selected == [one]
    # The service and its budget are of both.
    for item in (only(objects("istio", canary), "Service", "shop"),):
        assert "leeward.dev/version" not in item["spec"]["selector"]


def test_both_versions_show_their_metrics() -> None:
    items = objects("istio", OURS, service={"metrics": {"port": 9100}})
    (monitor,) = (each for each in kind(items, "PodMonitor") if each["metadata"]["name"] == "shop")
    asked = {each["port"] for each in monitor["spec"]["podMetricsEndpoints"]} - {"http-envoy-prom"}
    assert asked == {"metrics"}
    for name in ("shop", "shop-canary"):
        containers = only(items, "Deployment", name)["spec"]["template"]["spec"]["containers"]
        assert asked <= {port["name"] for container in containers for port in container["ports"]}, name


@pytest.mark.parametrize("scaling", [None, {"min": 2, "max": 6}])
@pytest.mark.parametrize("mesh", ["none", "istio", "gateway-api"])
def test_the_number_of_pods_under_flagger_is_the_autoscalers(mesh: str, scaling: dict[str, int] | None) -> None:
    """Flagger scales the deployment to none; a number in the files would be put back again and again."""
    items = objects(mesh, FLAGGERS, service={"autoscaling": scaling}, sidecars={"envoy": {}})
    assert "replicas" not in only(items, "Deployment", "shop")["spec"]
    canary = only(items, "Canary", "shop")["spec"]
    scaler = only(items, canary["autoscalerRef"]["kind"], canary["autoscalerRef"]["name"])["spec"]
    expected = (scaling["min"], scaling["max"]) if scaling else (3, 3)
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == expected
    assert scaler["scaleTargetRef"] == canary["targetRef"]


@pytest.mark.parametrize(("canary", "target"), [(FLAGGERS, "shop-primary"), (OURS, "shop"), (None, "shop")])
def test_recommendations_are_about_pods_that_run(canary: dict[str, Any] | None, target: str) -> None:
    items = objects("istio", canary, service={"autoscaling": {"min": 2, "max": 6, "vertical": "recommend"}})
    assert only(items, "VerticalPodAutoscaler", "shop")["spec"]["targetRef"]["name"] == target


def test_a_version_that_gets_no_requests_is_judged_by_no_requests() -> None:
    analysis = only(objects("none", FLAGGERS), "Canary", "shop")["spec"]["analysis"]
    assert "metrics" not in analysis
    assert analysis["iterations"] == 10


def test_with_the_gateway_api_flagger_asks_for_metrics_that_a_monitor_writes() -> None:
    items = objects("gateway-api", FLAGGERS, sidecars={"envoy": {}})
    (monitor,) = (each for each in kind(items, "PodMonitor") if each["metadata"]["name"] == "shop")
    assert {"port": "envoy-metrics", "path": "/metrics", "interval": "15s"} in monitor["spec"]["podMetricsEndpoints"]
    metrics = only(items, "Canary", "shop")["spec"]["analysis"]["metrics"]
    templates = {item["metadata"]["name"]: item["spec"] for item in kind(items, "MetricTemplate")}
    assert {each["templateRef"]["name"] for each in metrics} == set(templates)
    for template in templates.values():
        # The labels that the Prometheus operator gives what it scrapes, and Envoy's own.
        assert 'namespace="{{ namespace }}",pod=~"{{ target }}-' in template["query"]
        assert 'envoy_cluster_name="service"' in template["query"]
        assert "[{{ interval }}]" in template["query"]
        assert template["provider"] == {"type": "prometheus", "address": "http://prometheus-operated.monitoring:9090"}
    assert [each["thresholdRange"] for each in metrics] == [{"min": 99.0}, {"max": 500}]


def test_with_istio_flagger_asks_its_own_questions() -> None:
    items = objects("istio", FLAGGERS)
    names = [each["name"] for each in only(items, "Canary", "shop")["spec"]["analysis"]["metrics"]]
    assert names == ["request-success-rate", "request-duration"]
    assert kind(items, "MetricTemplate") == []
