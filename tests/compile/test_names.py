"""What the agents are told to answer for."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from leeward.compile.names import dns_settings
from leeward.compile.target import DNS_PORT, Images, answers_dns, kubernetes_target
from leeward.core.dns.settings import Policy
from leeward.spec import Spec, load
from leeward.world.model import DNS_ENDPOINT
from leeward.world.objects import engine_commands

EXAMPLE = Path(__file__).parents[2] / "examples" / "payments"
US, EU, JP = "us-east-1", "europe-west1", "japaneast"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("fleet.yaml", "application.yaml"):
        (tmp_path / name).write_text((EXAMPLE / name).read_text("utf-8"), "utf-8")
    return tmp_path


def changed(files: Path, name: str, **changes: Any) -> Spec:
    document = yaml.safe_load((files / name).read_text("utf-8"))
    document["spec"] |= changes
    (files / name).write_text(yaml.safe_dump(document), "utf-8")
    return load(files)


def told(spec: Spec) -> Any:
    target = kubernetes_target(spec, EU, engines=engine_commands(), images=Images())
    return dns_settings(spec, target)


def test_policies_weights_and_names(files: Path) -> None:
    weights = [{"region": EU, "weight": 7}]
    traffic = {"dns": "weighted", "weights": weights, "host": "Pay.Example.ORG.", "dnsTTL": "1s"}
    (app,) = told(changed(files, "application.yaml", traffic=traffic)).apps
    assert (app.policy, app.host, app.ttl_s) == (Policy.WEIGHTED, "pay.example.org", 1)
    assert app.weights == {US: 100, EU: 7, JP: 100}


@pytest.mark.parametrize(
    ("policy", "nearest"),
    [
        pytest.param("latency", (EU, JP, US), id="as the cable goes"),
        pytest.param("geographic", (EU, US, JP), id="as the crow flies"),
    ],
)
def test_what_is_near(files: Path, policy: str, nearest: tuple[str, ...]) -> None:
    detour = [{"between": [US, EU], "rtt": "190ms"}, {"between": [EU, JP], "rtt": "100ms"}]
    changed(files, "fleet.yaml", links=detour)
    (app,) = told(changed(files, "application.yaml", traffic={"dns": policy})).apps
    assert app.nearest[EU] == nearest
    assert app.regions == (US, EU, JP)


def test_where_regions_are(files: Path) -> None:
    region = told(load(files)).regions[1]
    assert region.networks == ("10.2.0.0/16", "10.102.0.0/16")
    assert (region.gateway, region.server) == (
        "gateway.europe-west1.payments.example.com",
        "ns.europe-west1.payments.example.com",
    )


def test_who_answers(files: Path) -> None:
    assert answers_dns(load(files))
    assert not answers_dns(changed(files, "fleet.yaml", dns={"provider": "cloudflare"}))
    assert not answers_dns(changed(files, "fleet.yaml", dns={}, domain=None))


def test_the_world_opens_a_door_to_where_the_agent_listens() -> None:
    assert DNS_ENDPOINT[1] == DNS_PORT
