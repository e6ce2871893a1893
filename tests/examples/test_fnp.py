"""The example fnp, row by row: section A of what must work, as far as a row is about objects."""

import json
from pathlib import Path
from typing import Any

import pytest

from leeward.compile import KubeObject, compile_parts
from leeward.compile.platform.nodes import saving
from leeward.compile.tree.diagram import diagram
from leeward.compile.tree.tree import tree
from leeward.spec import load
from leeward.world.objects import engine_commands
from tests.compile.evaluate import kind, only

EXAMPLE = Path(__file__).parents[2] / "examples" / "fnp"
SPEC = load(EXAMPLE)
CLUSTERS = {"fnp-us": "us-east-1", "fnp-eu": "europe-west1", "fnp-jp": "japaneast"}
FILES = tree(SPEC, engines=engine_commands())


def objects(cluster: str) -> list[KubeObject]:
    return [item for part in compile_parts(SPEC, cluster, engines=engine_commands()) for item in part.objects]


def base(name: str) -> dict[str, Any]:
    import yaml

    loaded: dict[str, Any] = yaml.safe_load(FILES[f"apps/fnp/base/{name}.yaml"])
    return loaded


def container(item: KubeObject, name: str) -> dict[str, Any]:
    (found,) = (each for each in item["spec"]["template"]["spec"]["containers"] if each["name"] == name)
    return dict(found)


def test_a1_three_regions_on_three_providers_from_one_base() -> None:
    assert {region.name: region.provider for region in SPEC.regions} == {
        "us-east-1": "aws",
        "europe-west1": "gcp",
        "japaneast": "azure",
    }
    for cluster in CLUSTERS:
        assert "- ../production" in FILES[f"apps/fnp/overlays/{cluster}/kustomization.yaml"]
    assert "- ../../base" in FILES["apps/fnp/overlays/production/kustomization.yaml"]
    assert SPEC.applications[0].spec.service.replicas == 3


def test_a2_names_lead_to_the_nearest_region_that_is_healthy() -> None:
    for cluster, region in CLUSTERS.items():
        (own,) = only(objects(cluster), "DNSEndpoint", "fnp")["spec"]["endpoints"]
        assert own["dnsName"] == f"fnp-{region}.fnp.example.com"
        (shared,) = kind(objects(cluster), "RecordSet")
        assert shared["spec"]["name"] == "fnp.fnp.example.com."
        assert {"region", "healthCheckRef"} <= shared["spec"].keys()


def test_a3_postgres_in_each_region_and_one_primary() -> None:
    for cluster, region in CLUSTERS.items():
        database = only(objects(cluster), "StatefulSet", "fnp-postgres")
        command = container(database, "postgres")["command"]
        upstreams = {command[i + 1].partition("=")[0] for i, word in enumerate(command) if word == "--upstream"}
        assert upstreams == set(CLUSTERS.values()) - {region}
    application = SPEC.applications[0]
    assert SPEC.placement(application)[0] == "us-east-1"
    assert (application.spec.database.replication, application.spec.objectives.rpo_s) == ("async", 5)


def test_a4_the_rto_holds_with_room() -> None:
    application = SPEC.applications[0]
    predicted_s = SPEC.budget(application).total_s + SPEC.dns_ttl_s(application)
    assert predicted_s < application.spec.objectives.rto_s == 30


def test_a5_the_base() -> None:
    assert base("namespace-fnp")["metadata"]["name"] == "fnp"
    database, service = base("statefulset-fnp-postgres"), base("service-fnp-public")
    (claim,) = database["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"
    assert base("service-fnp-postgres")["spec"]["clusterIP"] == "None"
    assert (service["spec"]["type"], service["spec"]["ports"][0]["port"]) == ("LoadBalancer", 8000)
    scaler = base("horizontalpodautoscaler-fnp")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 10)
    assert scaler["metrics"][0]["resource"]["name"] == "cpu"
    assert base("configmap-fnp-config")["data"]["FNP_CURRENCY"] == "usd"
    for name in ("fnp-database", "fnp-tls", "fnp-signing"):
        assert base(f"externalsecret-{name}")["spec"]["secretStoreRef"]["name"] == "leeward"
    resources = container(base("deployment-fnp"), "fnp")["resources"]["requests"]
    assert resources == {"cpu": "250m", "memory": "512Mi"}


def test_a6_production() -> None:
    items = objects("fnp-us")
    deployment = only(items, "Deployment", "fnp")
    service = container(deployment, "fnp")
    assert deployment["metadata"]["namespace"] == "fnp-production"
    assert only(items, "HorizontalPodAutoscaler", "fnp")["spec"]["minReplicas"] == 5
    assert service["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}
    affinity = deployment["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
    assert list(affinity) == ["preferredDuringSchedulingIgnoredDuringExecution"]
    assert {"name": "LOG_FORMAT", "value": "json"} in service["env"]
    envoy = json.loads(only(items, "ConfigMap", "fnp-envoy")["data"]["envoy.json"])
    (chain,) = envoy["static_resources"]["listeners"][0]["filter_chains"]
    filters = chain["filters"][0]["typed_config"]["http_filters"]
    buckets = [each["typed_config"]["token_bucket"] for each in filters[:-1]]
    # Ten pods at most share the region's limits, so that together they never let through more.
    assert [(each["max_tokens"] * 10, each["fill_interval"]) for each in buckets] == [
        (10_000, "60s"),
        (100_000, "3600s"),
    ]


def test_a7_the_mesh() -> None:
    items = objects("fnp-eu")
    (route,) = kind(items, "VirtualService")
    (http,) = route["spec"]["http"]
    assert http["match"] == [{"uri": {"prefix": "/api/"}}]
    assert {each["destination"]["subset"]: each["weight"] for each in http["route"]} == {"stable": 90, "canary": 10}
    (rule,) = kind(items, "DestinationRule")
    policy = rule["spec"]["trafficPolicy"]
    assert policy["connectionPool"]["tcp"]["maxConnections"] == 100
    assert policy["connectionPool"]["http"]["http1MaxPendingRequests"] == 50
    ejection = policy["outlierDetection"]
    assert (ejection["consecutive5xxErrors"], ejection["interval"], ejection["baseEjectionTime"]) == (5, "10s", "30s")
    assert policy["tls"]["mode"] == "ISTIO_MUTUAL"
    assert only(items, "PeerAuthentication", "default")["spec"]["mtls"]["mode"] == "STRICT"
    versions = {
        each["spec"]["template"]["metadata"]["labels"]["leeward.dev/version"]: each["metadata"]["name"]
        for each in kind(items, "Deployment")
        if each["metadata"]["namespace"] == "fnp-production"
    }
    assert versions == {"stable": "fnp", "canary": "fnp-canary"}


def test_a8_the_canary() -> None:
    (canary,) = kind(objects("fnp-us"), "Canary")
    spec, analysis = canary["spec"], canary["spec"]["analysis"]
    assert spec["progressDeadlineSeconds"] == 300
    assert [analysis[key] for key in ("interval", "threshold", "stepWeight", "maxWeight")] == ["30s", 5, 5, 50]
    ranges = {each["name"]: each["thresholdRange"] for each in analysis["metrics"]}
    assert ranges == {"request-success-rate": {"min": 99.0}, "request-duration": {"max": 500}}
    assert spec["service"]["match"] == [{"uri": {"prefix": "/api/"}}]


@pytest.mark.parametrize(
    ("cluster", "pools"), [("fnp-us", "NodePool"), ("fnp-eu", "ComputeClass"), ("fnp-jp", "NodePool")]
)
def test_a9_machines(cluster: str, pools: str) -> None:
    items = objects(cluster)
    production, interruptible = kind(items, pools)
    if pools == "NodePool":
        capacity = [
            each["values"]
            for pool in (production, interruptible)
            for each in pool["spec"]["template"]["spec"]["requirements"]
            if each["key"] == "karpenter.sh/capacity-type"
        ]
        assert capacity == [["on-demand"], ["spot", "on-demand"]]
        assert "taints" not in production["spec"]["template"]["spec"]
    else:
        assert [each["spot"] for each in production["spec"]["priorities"]] == [False]
        assert [each["spot"] for each in interruptible["spec"]["priorities"]] == [True, False]


def test_a9_the_saving_is_estimated() -> None:
    application = SPEC.applications[0]
    service = application.spec.service.model_copy(update={"interruptible": True})
    spot = application.model_copy(update={"spec": application.spec.model_copy(update={"service": service})})
    estimate = saving(SPEC, spot)
    assert estimate is not None
    # 3 pods of a quarter CPU in 3 regions, at 0.048 for 730 hours; spot is 65 % cheaper.
    assert estimate.on_demand_per_month == pytest.approx(3 * 0.25 * 3 * 0.048 * 730)
    assert estimate.spot_per_month == pytest.approx(estimate.on_demand_per_month * 0.35)
    assert saving(SPEC, application) is None


def test_a10_metrics_traces_dashboards_alerts() -> None:
    items = objects("fnp-jp")
    assert {each["metadata"]["name"] for each in kind(items, "PodMonitor")} == {"fnp", "leeward"}
    environment = {
        each["name"]: each.get("value") for each in container(only(items, "Deployment", "fnp"), "fnp")["env"]
    }
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://otel-collector.observability.svc:4317"
    collector = json.loads(only(items, "ConfigMap", "otel-collector")["data"]["collector.json"])
    assert collector["exporters"]["otlp/jaeger"]["endpoint"].startswith("jaeger-collector.")
    board = only(items, "ConfigMap", "fnp-dashboard")
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    (rules,) = kind(items, "PrometheusRule")
    names = {each["alert"] for each in rules["spec"]["groups"][0]["rules"]}
    assert {"LeewardNoPrimary", "LeewardRegionLost", "LeewardReplicationLag"} <= names


def test_a11_the_diagram() -> None:
    assert FILES["diagram.mmd"] == diagram(SPEC)
    assert all(region in FILES["diagram.mmd"] for region in CLUSTERS.values())


def test_overrides_change_their_place_only() -> None:
    for cluster in CLUSTERS:
        items = objects(cluster)
        pod = only(items, "Deployment", "fnp")["spec"]["template"]["spec"]
        scaler = only(items, "HorizontalPodAutoscaler", "fnp")["spec"]
        here = cluster == "fnp-jp"
        assert pod["terminationGracePeriodSeconds"] == (60 if here else 30)
        assert scaler["maxReplicas"] == (8 if here else 10)
