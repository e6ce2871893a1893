"""A fleet and its applications, checked: what everything else works with.

Defaults that depend on other parts of the files (which regions, which primary, which TTL) are filled in
by the methods here, once, for all callers.
"""

from dataclasses import dataclass
from math import asin, cos, radians, sin, sqrt

from leeward.base.problem import Problem
from leeward.core import delays, timers
from leeward.core.settings import Timers
from leeward.core.timers import Budget, Patience, derive, lease_min_s
from leeward.core.values import ReplicationMode
from leeward.spec.application import Application
from leeward.spec.fleet import Cluster, Fleet, Location, Region
from leeward.spec.variants import variant

EARTH_RADIUS_KM = 6371.0
# Light in fibre; and how much longer cables are than the great circle. The sum is right to about a third for
# the large providers' regions, except where cables take a detour round a continent.
FIBRE_KM_PER_S = 200_000.0
DETOUR = 1.5
RTT_MIN_S = 0.001
DNS_TTL_MAX_S = 30.0
DATABASES_MAX = 200
"""Of a fleet: each has ports of its own on every gateway."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What ``load`` returns: consistent, with every reference resolved."""

    fleet: Fleet
    applications: tuple[Application, ...]
    warnings: tuple[Problem, ...] = ()
    """Warnings: they do not stop anything."""

    @property
    def regions(self) -> tuple[Region, ...]:
        """All regions, in the order of the fleet file."""
        return self.fleet.spec.regions

    def region(self, name: str) -> Region:
        """Return the region of that name. Raises KeyError."""
        for region in self.regions:
            if region.name == name:
                return region
        raise KeyError(name)

    def clusters(self, region: str) -> tuple[Cluster, ...]:
        """Return a region's clusters; one of the region's name where the fleet gives none. Raises KeyError."""
        return self.region(region).clusters or (Cluster(name=region),)

    def region_of(self, cluster: str) -> Region:
        """Return the region of a cluster. Raises KeyError."""
        for region in self.regions:
            if any(each.name == cluster for each in self.clusters(region.name)):
                return region
        raise KeyError(cluster)

    def on(self, cluster: str) -> tuple[Application, ...]:
        """Return the applications as a cluster runs them: its environment's, with all overrides. Raises KeyError."""
        region = self.region_of(cluster)
        (found,) = (each for each in self.clusters(region.name) if each.name == cluster)
        return tuple(
            variant(application, environment=found.environment, region=region.name, cluster=cluster)
            for application in self.applications
            if region.name in self.placement(application)
        )

    def application(self, name: str) -> Application:
        """Return the application of that name. Raises KeyError."""
        for application in self.applications:
            if application.metadata.name == name:
                return application
        raise KeyError(name)

    def rtt_s(self, first: str, second: str) -> float:
        """Return the round trip between two regions: measured if the file gives it, else estimated."""
        return rtt_s(self.fleet, first, second)

    @property
    def domain(self) -> str:
        """What its names end with."""
        return domain_of(self.fleet)

    @property
    def rtt_max_s(self) -> float:
        """The fleet's largest round trip: what its timers are derived from."""
        return rtt_max_s(self.fleet)

    @property
    def timers(self) -> Timers:
        """The protocol's durations for this fleet."""
        return derive(self.rtt_max_s)

    def placement(self, application: Application) -> tuple[str, ...]:
        """Return the regions an application runs in, the primary's first."""
        return placement(self.fleet, application)

    def budget(self, application: Application) -> Budget:
        """Return what a failover of the application takes, term by term."""
        return budget(self.fleet, application)

    def patience(self, application: Application) -> Patience:
        """Return how long the application's primary is left alone."""
        return patience(self.fleet, application)

    @property
    def freezes(self) -> tuple[delays.Freeze, ...]:
        """How often a region stands still for how long, as the file gives it."""
        return tuple(delays.Freeze(each.lasting_s, each.per_year) for each in self.fleet.spec.freezes)

    def dns_ttl_s(self, application: Application) -> float:
        """Return how long resolvers may keep an answer: as stated, else what the RTO leaves room for."""
        stated_s = application.spec.traffic.dns_ttl_s
        if stated_s is not None:
            return stated_s
        room_s = application.spec.objectives.rto_s - self.budget(application).total_s
        return float(int(min(DNS_TTL_MAX_S, max(0.0, room_s))))


def placement(fleet: Fleet, application: Application) -> tuple[str, ...]:
    """Return the regions an application runs in, the primary's first, then in the order given.

    There are none only in a fleet that ``load`` refuses: one of witnesses.
    """
    wanted = application.spec.placement
    names = wanted.regions or tuple(region.name for region in fleet.spec.regions if not region.witness)
    first = names[:1] if wanted.primary is None else (wanted.primary,)
    return (*first, *(name for name in names if name not in first))


def domain_of(fleet: Fleet) -> str:
    """Return the fleet's domain."""
    return fleet.spec.domain or f"{fleet.metadata.name}.internal"


def public_name(fleet: Fleet, application: Application) -> str:
    """Return what users call the application."""
    return application.spec.traffic.host or f"{application.metadata.name}.{domain_of(fleet)}"


def shortest_budget(fleet: Fleet, application: Application) -> Budget:
    """Return the shortest failover that the fleet's links allow this application."""
    rtt = rtt_max_s(fleet)
    return timers.budget(lease_min_s(rtt), rtt, synchronous=is_synchronous(application))


def budget(fleet: Fleet, application: Application) -> Budget:
    """Return what a failover of the application takes, with the patience that its RTO pays for."""
    rtt, waits_s = rtt_max_s(fleet), patience(fleet, application).takeover_s
    return timers.budget(lease_min_s(rtt), rtt, synchronous=is_synchronous(application), takeover_s=waits_s)


def patience(fleet: Fleet, application: Application) -> Patience:
    """Return how long the application's primary is left alone, by its objectives."""
    wanted = application.spec
    return timers.patience(
        wanted.objectives.rto_s,
        wanted.objectives.rpo_s,
        rtt_max_s(fleet),
        synchronous=is_synchronous(application),
        dns_ttl_s=wanted.traffic.dns_ttl_s or 0.0,
    )


def is_synchronous(application: Application) -> bool:
    """Return whether an acknowledged write is on a standby too."""
    return application.spec.database.replication is not ReplicationMode.ASYNC


def pods_min(application: Application) -> int:
    """Return how many pods of the service a cluster runs at least."""
    service = application.spec.service
    return service.autoscaling.min if service.autoscaling else service.replicas


def rollout_pods_max(application: Application) -> int:
    """Return how many pods of the service a cluster runs at most: a rollout starts one before it ends one."""
    service, canary = application.spec.service, application.spec.rollout.canary
    most = service.autoscaling.max if service.autoscaling else service.replicas
    versions = 2 if canary is not None and canary.by == "flagger" else 1
    return versions * (most + 1)


def rtt_max_s(fleet: Fleet) -> float:
    """Return the largest round trip between any two regions."""
    names = [region.name for region in fleet.spec.regions]
    pairs = ((a, b) for index, a in enumerate(names) for b in names[index + 1 :])
    return max((rtt_s(fleet, a, b) for a, b in pairs), default=RTT_MIN_S)


def rtt_s(fleet: Fleet, first: str, second: str) -> float:
    """Return the round trip between two regions in seconds; 0 from a region to itself."""
    if first == second:
        return 0.0
    for link in fleet.spec.links:
        if set(link.between) == {first, second}:
            return link.rtt_s
    locations = {region.name: region.location for region in fleet.spec.regions}
    return estimated_rtt_s(locations[first], locations[second])


def estimated_rtt_s(first: Location, second: Location) -> float:
    """Return the round trip that the distance suggests: there and back in fibre, half as long again."""
    return RTT_MIN_S + 2 * DETOUR * _distance_km(first, second) / FIBRE_KM_PER_S


def _distance_km(first: Location, second: Location) -> float:
    """Return the length of the great circle between two places (haversine)."""
    latitude_1, latitude_2 = radians(first.latitude), radians(second.latitude)
    half_latitude = (latitude_2 - latitude_1) / 2
    half_longitude = radians(second.longitude - first.longitude) / 2
    chord = sin(half_latitude) ** 2 + cos(latitude_1) * cos(latitude_2) * sin(half_longitude) ** 2
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(chord)))
