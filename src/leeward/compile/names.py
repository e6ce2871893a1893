"""The applications' public names: which there are, how long answers may be kept, and what the agents answer."""

from collections.abc import Callable

from leeward.compile.target import DNS_PORT, Target
from leeward.core.dns.settings import DnsSettings, NamedApp, NamedRegion, Policy
from leeward.core.values import App, Region
from leeward.spec import fleet
from leeward.spec.application import Application
from leeward.spec.spec import Spec, estimated_rtt_s, public_name
from leeward.spec.traffic import DnsPolicy

DEFAULT_WEIGHT = 100


def domain_of(spec: Spec) -> str:
    """Return the fleet's domain."""
    return spec.domain


def host_of(spec: Spec, application: Application) -> str:
    """Return an application's public name."""
    return public_name(spec.fleet, application)


def ttl_s(spec: Spec, application: Application) -> int:
    """Return how long resolvers may keep an answer, in whole seconds."""
    return max(1, int(spec.dns_ttl_s(application)))


def weight_of(application: Application, region: str) -> int:
    """Return a region's share of the users."""
    weights = {each.region: each.weight for each in application.spec.traffic.weights}
    return weights.get(region, DEFAULT_WEIGHT)


def dns_settings(spec: Spec, target: Target) -> DnsSettings:
    """Return what the agent of one region answers for: all agents the same."""
    return DnsSettings(
        domain=domain_of(spec),
        listen_host=target.agent_listen_host,
        listen_port=DNS_PORT,
        regions=tuple(_region(spec, region, target) for region in spec.regions),
        apps=tuple(_app(spec, application) for application in spec.applications),
    )


def _region(spec: Spec, region: fleet.Region, target: Target) -> NamedRegion:
    peer = target.peers[region.name]
    clusters = spec.clusters(region.name)
    ranges = [cidr for each in clusters for cidr in (each.pod_cidr, each.service_cidr, each.vpc_cidr)]
    networks = (*peer.networks, *(str(cidr) for cidr in ranges if cidr is not None))
    return NamedRegion(Region(region.name), networks, gateway=peer.gateway_host, server=peer.dns_host)


def _app(spec: Spec, application: Application) -> NamedApp:
    placed, policy = spec.placement(application), application.spec.traffic.dns
    far = _distance(spec, policy)
    return NamedApp(
        app=App(application.metadata.name),
        host=host_of(spec, application),
        policy=Policy(policy.value),
        ttl_s=ttl_s(spec, application),
        regions=tuple(map(Region, placed)),
        weights={Region(region): weight_of(application, region) for region in placed},
        nearest={
            Region(near.name): tuple(Region(name) for name in sorted(placed, key=lambda name: far(near.name, name)))
            for near in spec.regions
        },
    )


def _distance(spec: Spec, policy: DnsPolicy) -> Callable[[str, str], float]:
    """Return how far two regions are apart: on the globe, or as the network goes."""
    if policy is not DnsPolicy.GEOGRAPHIC:
        return spec.rtt_s
    return lambda first, second: estimated_rtt_s(spec.region(first).location, spec.region(second).location)
