"""Containers of one pod share its addresses: two on one port are refused, and one on a port of Istio's proxy."""

from pathlib import Path

import pytest

from leeward.spec.check_ports import ISTIO
from tests.spec.files import APPLICATION, FLEET, problems_of, write
from tests.spec.test_problems import marked, one_problem

ISTIO_MESH = FLEET + "  mesh: {kind: istio}\n"
TWICE = [
    pytest.param("    port: 9902\n  sidecars: {@envoy: {}}\n", id="Envoy's metrics"),
    pytest.param("    port: 9102\n  sidecars: {metrics: {}}\n", id="the exporter's own port"),
    pytest.param("    port: 9000\n  sidecars: {envoy: {port: @9000}}\n", id="Envoy's port"),
    pytest.param("    metrics: {port: 15080}\n  sidecars: {envoy: {}}\n", id="the service's metrics"),
]


@pytest.mark.parametrize("lines", TWICE)
def test_two_containers_on_one_port_are_refused(tmp_path: Path, lines: str) -> None:
    code, _, text = one_problem(write(tmp_path, application=APPLICATION + lines.replace("@", "")))
    assert code == "port-twice", text
    assert "both listen on port" in text


@pytest.mark.parametrize(
    "lines",
    [
        "    port: @15021\n",
        "    metrics: {port: @15020}\n",
        "  sidecars: {envoy: {port: @15001}}\n",
        "  sidecars: {metrics: {port: @15090}}\n",
    ],
)
def test_a_port_of_istios_proxy_is_refused_with_istio(tmp_path: Path, lines: str) -> None:
    application, place = marked(APPLICATION + lines)
    code, found, text = one_problem(write(tmp_path, fleet=ISTIO_MESH, application=application))
    assert (code, found) == ("port-of-istio", place), text
    assert problems_of(write(tmp_path, fleet=FLEET, application=application)) == ()


def test_what_leeward_puts_beside_a_service_keeps_off_istios_ports(tmp_path: Path) -> None:
    """istio-proxy: 15000 is its administration, 15090 its metrics."""
    assert {15000, 15001, 15006, 15008, 15020, 15021, 15053, 15090} <= ISTIO
    everything = APPLICATION + "  sidecars: {envoy: {}, metrics: {}, logging: {}}\n"
    assert problems_of(write(tmp_path, fleet=ISTIO_MESH, application=everything)) == ()


def test_gateways_of_another_class_are_somewhere(tmp_path: Path) -> None:
    fleet, place = marked(FLEET + "  mesh: {kind: gateway-api, gatewayClass: @envoy}\n")
    code, found, text = one_problem(write(tmp_path, fleet=fleet))
    assert (code, found) == ("gateways-anywhere", place), text
    stated = fleet.replace("gatewayClass: envoy", "gatewayClass: envoy, gatewayNamespace: envoy-gateway-system")
    assert problems_of(write(tmp_path, fleet=stated)) == ()


def test_a_cluster_on_google_cloud_has_a_project(tmp_path: Path) -> None:
    cloud = FLEET.replace("- name: us\n", "- name: us\n      provider: gcp\n      clusters: [@{name: a}]\n")
    fleet, place = marked(cloud + "  clusterAPI: {}\n")
    code, found, text = one_problem(write(tmp_path, fleet=fleet))
    assert (code, found) == ("cluster-without-project", place), text
    assert problems_of(write(tmp_path, fleet=fleet.replace("{name: a}", "{name: a, project: shop}"))) == ()
