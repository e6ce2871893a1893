"""A pod's ports: no two containers listen on one, and none on a port of the proxy that Istio puts beside them."""

from collections.abc import Iterator

from leeward.base.problem import Problem
from leeward.spec.application import Application
from leeward.spec.fleet import Fleet
from leeward.spec.loaded import Loaded
from leeward.spec.platform import MeshKind
from leeward.spec.source import Place

ENVOY_METRICS = 9902
"""Where the Envoy beside a service shows its metrics."""
ISTIO = frozenset((*range(15000, 15011), 15012, 15014, 15017, 15020, 15021, 15053, 15090))
"""Ports of Istio's proxy and of its control plane."""


def check_ports(application: Loaded[Application], fleet: Fleet) -> Iterator[Problem]:
    """Yield each port that another container of the service's pods has, or Istio's proxy."""
    seen: dict[int, str] = {}
    for port, place, name in _ports(application.model):
        if port in seen:
            yield application.problem(
                "port-twice",
                *place,
                what=f"{name} and {seen[port]} both listen on port {port}",
                why="the containers of a pod share its addresses: the second one cannot start",
                fix="give one of them another port",
            )
        elif fleet.spec.mesh.kind is MeshKind.ISTIO and port in ISTIO:
            yield application.problem(
                "port-of-istio",
                *place,
                what=f"{name} listens on port {port}, which Istio's proxy has",
                why="the containers of a pod share its addresses: one of the two cannot start",
                fix="use a port outside 15000 to 15090",
            )
        seen.setdefault(port, name)


def _ports(application: Application) -> Iterator[tuple[int, Place, str]]:
    """Yield the ports of the service's pods with where the file says them, and in words."""
    service, sidecars = application.spec.service, application.spec.sidecars
    at: Place = ("spec", "service", "port")
    yield service.port, at, "the service"
    if service.metrics is not None and service.metrics.port not in (None, service.port):
        yield service.metrics.port, ("spec", "service", "metrics", "port"), "the service, for its metrics,"
    if sidecars.envoy is not None:
        yield sidecars.envoy.port, ("spec", "sidecars", "envoy", "port"), "Envoy"
        yield ENVOY_METRICS, ("spec", "sidecars", "envoy"), "Envoy, for its metrics,"
    if sidecars.metrics is not None:
        yield sidecars.metrics.port, ("spec", "sidecars", "metrics", "port"), "the exporter"
