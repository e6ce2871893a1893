"""How users and pods reach an application, and what it is protected from."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from leeward.spec.values import HostName, HttpPath, Model, Name, Seconds


class DnsPolicy(StrEnum):
    """Which region a name leads to."""

    GEOGRAPHIC = "geographic"
    LATENCY = "latency"
    WEIGHTED = "weighted"
    FAILOVER = "failover"


class Weight(Model):
    """A region's share of the users."""

    region: Name
    """The region."""
    weight: Annotated[int, Field(ge=0, le=255)]
    """In proportion to the others'."""


class RateLimit(Model):
    """How many requests a region takes with as many pods as it may have; each takes its share, so fewer pods take less.
    Those above are answered with 429."""

    per_minute: Annotated[int | None, Field(ge=1)] = None
    """In any minute."""
    per_hour: Annotated[int | None, Field(ge=1)] = None
    """In any hour."""


class Breaker(Model):
    """When a pod is overloaded or failing."""

    connections: Annotated[int, Field(ge=1)] = 100
    """TCP connections to the service."""
    pending: Annotated[int, Field(ge=1)] = 50
    """Requests that wait for a connection."""
    errors: Annotated[int, Field(ge=1, le=1000)] = 5
    """This many 5xx answers in a row eject a pod."""
    interval_s: Annotated[Seconds, Field(alias="interval")] = 10.0
    """How often pods are checked."""
    ejection_s: Annotated[Seconds, Field(alias="ejection")] = 30.0
    """How long a pod stays ejected, multiplied by how often it was ejected."""
    ejected_max: Annotated[int, Field(ge=1, le=100)] = 50
    """Percent of the pods that may be ejected at the same time."""


class Retries(Model):
    """When a request is tried again."""

    attempts: Annotated[int, Field(ge=0, le=10)] = 2
    """How often, after the first try."""
    timeout_s: Annotated[Seconds, Field(alias="timeout")] = 2.0
    """How long one try may take."""


class FailoverPair(Model):
    """Where a region's requests go when its own pods cannot answer."""

    source: Annotated[Name, Field(alias="from")]
    """The region without healthy pods."""
    target: Annotated[Name, Field(alias="to")]
    """The region that takes its requests."""


class Traffic(Model):
    """How users reach it."""

    dns_ttl_s: Annotated[Seconds | None, Field(alias="dnsTTL")] = None
    """How long resolvers may keep an answer. Left out: as long as the RTO leaves room for, up to 30s."""
    host: HostName | None = None
    """Its public name, without wildcards. Left out: ``APPLICATION.DOMAIN`` of the fleet."""
    dns: DnsPolicy = DnsPolicy.LATENCY
    """Which region the public name leads to."""
    weights: tuple[Weight, ...] = ()
    """With dns: weighted. A region that is left out has 100."""
    prefix: HttpPath = "/"
    """The paths that are routed to the service."""
    affinity: bool = False
    """A user stays with the same pod, by a cookie, as long as it is healthy."""
    rate_limit: RateLimit = RateLimit()
    """How many requests a region takes."""
    breaker: Breaker = Breaker()
    """When a pod is overloaded or failing."""
    retries: Retries = Retries()
    """When a request is tried again."""
    failover: tuple[FailoverPair, ...] = ()
    """Where requests go when a region's pods cannot answer. Left out: the nearest other region."""
    warmup_s: Annotated[Seconds, Field(alias="warmup")] = 30.0
    """How long a new pod takes to get its full share."""
