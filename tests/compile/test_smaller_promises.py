"""Small promises of what is rendered, each once broken: ports, variables, machines, volumes, declared callers."""

from typing import Any

import pytest

from leeward.compile import KubeObject, compile_cluster
from leeward.spec import Spec
from leeward.world.objects import engine_commands
from tests.compile.evaluate import End, allowed, kind, only
from tests.compile.test_concern_pages import spec_of

COMMANDS = engine_commands()
SERVICE = End("service", "shop", {"app.kubernetes.io/name": "shop", "app.kubernetes.io/component": "service"})
PROMETHEUS = End("prometheus", "monitoring", {"app": "prometheus"})


def objects(spec: Spec, cluster: str = "fnp-us") -> list[KubeObject]:
    return compile_cluster(spec, cluster, engines=COMMANDS)


def shop(items: list[KubeObject]) -> KubeObject:
    """Return the pod of the service."""
    pod: KubeObject = only(items, "Deployment", "shop")["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize(
    "service", [{"metrics": {"port": 9200, "path": "/prom"}}, {"metrics": {"path": "/prom"}}, {}], ids=str
)
@pytest.mark.parametrize("sidecars", [{}, {"metrics": {}}, {"metrics": {}, "envoy": {}, "logging": {}}], ids=str)
def test_each_endpoint_of_a_monitor_is_one_port(service: dict[str, Any], sidecars: dict[str, Any]) -> None:
    spec = spec_of({"monitoring": {}}, {"service": service, "sidecars": sidecars})
    items = objects(spec)
    monitors = [item for item in kind(items, "PodMonitor") if item["metadata"]["name"] == "shop"]
    named = [each["port"] for item in monitors for each in item["spec"]["podMetricsEndpoints"]]
    ports = [port["name"] for container in shop(items)["containers"] for port in container["ports"]]
    assert len(set(ports)) == len(ports)
    assert set(named) <= set(ports)
    assert len(named) == len(service) + len(sidecars) - ("logging" in sidecars)


def test_traces_are_sent_in_the_collectors_protocol() -> None:
    items = objects(spec_of({"tracing": {}}, {}))
    variables = {each["name"]: each.get("value") for each in shop(items)["containers"][0]["env"]}
    assert variables["OTEL_EXPORTER_OTLP_ENDPOINT"].endswith(":4317")
    assert variables["OTEL_EXPORTER_OTLP_PROTOCOL"] == "grpc"


def test_no_machine_of_a_database_expires() -> None:
    pools = [{"name": "steady", "capacity": ["on-demand"]}, {"name": "cheap", "capacity": ["spot", "on-demand"]}]
    for cluster in ("fnp-us", "fnp-jp"):
        found = kind(objects(spec_of({"nodePools": pools}, {}), cluster), "NodePool")
        expiry = {each["metadata"]["name"]: each["spec"]["template"]["spec"]["expireAfter"] for each in found}
        assert expiry == {"steady": "Never", "cheap": "720h"}


def test_files_that_a_service_logs_into_do_not_fill_its_node() -> None:
    (logs,) = (
        each for each in shop(objects(spec_of({}, {"sidecars": {"logging": {}}})))["volumes"] if each["name"] == "logs"
    )
    assert logs["emptyDir"]["sizeLimit"] == "1Gi"


@pytest.mark.parametrize("named", [True, False])
def test_monitoring_is_let_in_where_it_is_a_declared_caller(named: bool) -> None:
    spec = spec_of({"monitoring": {}}, {"network": {"callers": ["monitoring"] if named else []}})
    policies = kind(objects(spec), "NetworkPolicy")
    assert allowed(policies, PROMETHEUS, SERVICE, 8000) is named
    assert not allowed(policies, End("other", "default"), SERVICE, 8000)
