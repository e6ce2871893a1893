"""How an application's pods are built, kept apart, protected and scaled."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from leeward.spec.values import Amount, Cidr, EnvName, HttpPath, Image, Model, Name, Seconds

Count = Annotated[int, Field(ge=1, le=1000)]
Port = Annotated[int, Field(ge=1, le=65535)]
Text = Annotated[str, Field(min_length=1)]


class Vertical(StrEnum):
    """What is done with recommended amounts."""

    OFF = "off"
    RECOMMEND = "recommend"


class Autoscaling(Model):
    """How many pods a region runs, by load."""

    min: Count
    """Never fewer pods than this."""
    max: Count
    """Never more pods than this."""
    cpu: Annotated[int, Field(ge=1, le=100)] = 70
    """Percent of the requested CPU to aim at."""
    memory: Annotated[int | None, Field(ge=1, le=100)] = 80
    """Percent of the requested memory to aim at, on Kubernetes; null: only CPU counts."""
    up_per_minute: Annotated[int, Field(ge=1, le=100)] = 4
    """At most this many pods more in a minute, on Kubernetes."""
    down_per_minute: Annotated[int, Field(ge=1, le=100)] = 1
    """At most this many pods fewer in a minute, on Kubernetes."""
    vertical: Vertical = Vertical.OFF
    """Let the vertical autoscaler recommend CPU and memory; it changes nothing by itself."""


class Exposure(StrEnum):
    """Who can reach the service without a gateway."""

    CLUSTER = "cluster"
    LOAD_BALANCER = "load-balancer"


class LogFormat(StrEnum):
    """What a line of the log is."""

    TEXT = "text"
    JSON = "json"


class AntiAffinity(StrEnum):
    """Whether two pods may share a node."""

    NONE = "none"
    PREFERRED = "preferred"
    REQUIRED = "required"


class SecretVariable(Model):
    """An environment variable whose value is in a secret."""

    env: EnvName
    """The variable."""
    secret: Name
    """The secret, in the application's namespace."""
    key: Text
    """The key in the secret."""
    remote: Text | None = None
    """Where the store keeps it. Left out: ``APPLICATION/SECRET``."""


class Metrics(Model):
    """Where the service shows its own metrics."""

    port: Port | None = None
    """Left out: the service's port."""
    path: HttpPath = "/metrics"
    """The path. On the service's port, gateways answer users 404 there and below it."""


class LoggingSidecar(Model):
    """Fluent Bit beside the service: it ships the files that the service writes."""

    directory: HttpPath = "/var/log/app"
    """Shared by both; the service writes ``*.log`` there."""
    image: Image = "cr.fluentbit.io/fluent/fluent-bit:4.1.1"
    """Its image."""


class MetricsSidecar(Model):
    """An exporter beside a service that has no metrics."""

    image: Image = "quay.io/prometheus/statsd-exporter:v0.28.0"
    """Its image."""
    args: tuple[str, ...] = ("--web.listen-address=:9102", "--statsd.listen-udp=:9125")
    """Its arguments."""
    port: Port = 9102
    """Where it shows the metrics."""


class EnvoySidecar(Model):
    """Envoy in front of the service: rate limits, circuit breaking, retries, balancing, metrics."""

    image: Image = "docker.io/envoyproxy/envoy:v1.40.0"
    """Its image."""
    port: Annotated[int, Field(ge=1024, le=65535)] = 15080
    """Where it listens; the service's port leads here."""


class Sidecars(Model):
    """Containers beside the service's, on Kubernetes."""

    logging: LoggingSidecar | None = None
    """Ships log files to Loki."""
    metrics: MetricsSidecar | None = None
    """Exports metrics for a service that has none."""
    envoy: EnvoySidecar | None = None
    """An Envoy that limits what reaches the service."""


class Quota(Model):
    """What an application may use of a cluster. Left out: what it needs at its autoscaler's maximum, and a tenth."""

    cpu: Amount | None = None
    """CPUs requested by all pods."""
    memory: Amount | None = None
    """Memory requested by all pods."""
    pods: Count | None = None
    """Pods."""


class Tier(Model):
    """A group of pods, and what may call it."""

    name: Name
    """Unique in the application. ``service`` and ``database`` are there anyway, and ``monitoring`` and ``internet``."""
    pods: dict[str, str]
    """The labels of its pods."""
    port: Port | None = None
    """Where it listens. Left out: it only calls."""
    allows: tuple[Name, ...] = ()
    """The tiers that may call it."""


class Outside(Model):
    """Something outside the clusters that the service calls."""

    cidr: Cidr
    """Its addresses."""
    ports: Annotated[tuple[Port, ...], Field(min_length=1)] = (443,)
    """Its ports, TCP."""


class Import(Model):
    """A service of another application or cluster, by the multi-cluster services API."""

    name: Name
    """Its name."""
    port: Port
    """Its port, which is its pods' too."""


class AppNetwork(Model):
    """Which pods may call which. What is not declared is denied."""

    tiers: tuple[Tier, ...] = ()
    """Groups of pods besides the service and its database."""
    callers: tuple[Name, ...] = ()
    """Tiers that may call the service, besides the gateways."""
    outside: tuple[Outside, ...] = ()
    """What the service calls outside the clusters."""
    imports: tuple[Import, ...] = ()
    """Services of other clusters in the application's namespace."""


class Canary(Model):
    """A new version gets a little traffic first."""

    by: Annotated[str, Field(pattern="^(leeward|flagger)$")] = "leeward"
    """``leeward``: the new version gets the fixed ``weight``. ``flagger``: Flagger moves its share in each cluster."""
    image: Image | None = None
    """With leeward: the new version's image. Left out: no canary at the moment."""
    weight: Annotated[int, Field(ge=0, le=100)] = 10
    """With leeward: percent of the requests that the new version gets."""
    interval_s: Annotated[Seconds, Field(alias="interval")] = 30.0
    """With flagger: how often it is checked."""
    deadline_s: Annotated[Seconds, Field(alias="deadline")] = 300.0
    """With flagger: how long its pods may take to become ready before it is rolled back."""
    threshold: Annotated[int, Field(ge=1, le=100)] = 5
    """With flagger: after this many failed checks, all traffic goes back to the old version."""
    step: Annotated[int, Field(ge=1, le=100)] = 5
    """With flagger: percent added after each successful check."""
    max: Annotated[int, Field(ge=1, le=100)] = 50
    """With flagger: percent at which it replaces the old version."""
    success: Annotated[float, Field(gt=0, le=100)] = 99.0
    """With flagger: percent of its requests that must succeed."""
    duration_s: Annotated[Seconds, Field(alias="duration")] = 0.5
    """With flagger: limit of the 99th percentile of the duration of its requests."""


class Rollout(Model):
    """How a change reaches the regions."""

    canary: Canary | None = None
    """Try a new version on a small share of the traffic. Left out: pods are replaced one by one."""
