"""The concerns of this group: how requests reach an application."""

from leeward.compile.concern import Concern, FleetConcerns
from leeward.compile.traffic.canaries import flagger, versions
from leeward.compile.traffic.entries import entry
from leeward.compile.traffic.gateway_api import gateway_api
from leeward.compile.traffic.istio import istio
from leeward.compile.traffic.istio_gateways import istio_gateways
from leeward.compile.traffic.joining import exports, names, peering, wireguard
from leeward.compile.traffic.network_policy import network_policy
from leeward.compile.traffic.records import records

CONCERNS = (
    Concern("versions", versions, after=("sidecars", "tracing", "interruptible", "monitoring")),
    Concern("flagger", flagger),
    Concern("istio", istio),
    Concern("gateway-api", gateway_api),
    Concern("exports", exports),
    Concern("entry", entry),
    Concern("records", records),
    Concern("network-policy", network_policy),
)
FLEET_CONCERNS: FleetConcerns = {
    "istio": istio_gateways,
    "wireguard": wireguard,
    "peering": peering,
    "coredns": names,
}
