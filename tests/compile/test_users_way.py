"""How users reach a gateway on Kubernetes: by which ports, under their own addresses, and within which limits."""

from dataclasses import replace
from pathlib import Path

import pytest

from leeward.adapters.envoy.settings import of_agent
from leeward.compile import Images, agent_settings, compile_cluster, kubernetes_target
from leeward.core.settings import ClientLimits
from leeward.spec import load
from leeward.world.objects import engine_commands
from tests.compile.evaluate import kind, only

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = engine_commands()
USERS, PEERS, AGENT, STORE_PEERS, DNS = 8080, 8443, 7443, 2380, 53
HTTP = 80
"""The users' port under the number that browsers and DNS providers' checks use."""


@pytest.mark.parametrize(("example", "cluster"), [("hello", "us"), ("payments", "atlas-us"), ("fnp", "fnp-us")])
def test_load_balancers_publish_neither_metrics_nor_databases(example: str, cluster: str) -> None:
    items = compile_cluster(load(EXAMPLES / example), cluster, engines=COMMANDS)
    outside = [
        item
        for item in kind(items, "Service")
        if item["spec"].get("type") == "LoadBalancer" and item["metadata"]["namespace"] == "leeward-system"
    ]
    ports = {port["port"] for item in outside for port in item["spec"]["ports"]}
    assert {USERS, PEERS, AGENT} <= ports <= {USERS, PEERS, AGENT, STORE_PEERS, DNS, HTTP}


def test_the_gateway_sees_the_addresses_of_its_clients() -> None:
    items = compile_cluster(load(EXAMPLES / "payments"), "atlas-us", engines=COMMANDS)
    assert only(items, "Service", "leeward-gateway")["spec"]["externalTrafficPolicy"] == "Local"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", ClientLimits(), id="left out"),
        pytest.param(
            "gateway: {requestsPerClient: 5000, connectionsPerClient: 9000, proxies: [198.51.100.0/24]}",
            ClientLimits(requests_per_s=5000, connections=9000, proxies=("198.51.100.0/24",)),
            id="chosen",
        ),
    ],
)
def test_what_the_fleet_says_of_clients_reaches_the_gateway(tmp_path: Path, text: str, expected: ClientLimits) -> None:
    for name in ("fleet.yaml", "application.yaml"):
        (tmp_path / name).write_text((EXAMPLES / "payments" / name).read_text("utf-8"), "utf-8")
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(fleet.read_text("utf-8").replace("\nspec:\n", f"\nspec:\n  {text}\n"), "utf-8")
    spec = load(tmp_path)
    target = kubernetes_target(spec, "us-east-1", engines=COMMANDS, images=Images())
    found = of_agent(agent_settings(spec, "us-east-1", target))
    assert found.limits == replace(found.limits, clients=expected)
