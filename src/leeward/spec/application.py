"""The kind ``Application``: what must be kept up, and how well."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from leeward.core.values import ReplicationMode
from leeward.spec.fleet import ApiVersion, Metadata
from leeward.spec.values import Amount, EnvName, HttpPath, Model, Name, Seconds, parse_quantity

Count = Annotated[int, Field(ge=1, le=1000)]


class Objectives(Model):
    """What users may notice of the loss of a region. Timers are derived from it."""

    rto_s: Annotated[Seconds, Field(alias="rto")]
    """Recovery time: from the loss until writes are acknowledged again."""
    rpo_s: Annotated[Seconds, Field(alias="rpo")]
    """Recovery point: how much acknowledged work may be lost; 0s needs sync or quorum replication."""
    availability: Annotated[float | None, Field(gt=0, lt=100)] = None
    """Percent of requests that succeed over a month, such as 99.95."""


class Resources(Model):
    """CPU and memory of one container."""

    cpu: Amount | None = None
    """Such as 250m."""
    memory: Amount | None = None
    """Such as 256Mi."""


class Requirements(Model):
    """What a container is promised, and what it may not exceed."""

    requests: Resources = Resources()
    limits: Resources = Resources()


class Probes(Model):
    """The paths at which the service says how it is."""

    readiness: HttpPath = "/readyz"
    """Answers 200 when it can serve requests."""
    liveness: HttpPath = "/healthz"
    """Answers 200 unless only a restart would help."""


class Autoscaling(Model):
    """How many pods a region runs, by load."""

    min: Count
    """Never fewer pods than this."""
    max: Count
    """Never more pods than this."""
    cpu: Annotated[int, Field(ge=1, le=100)] = 70
    """Percent of the requested CPU to aim at."""


class Service(Model):
    """The stateless part: an HTTP server that runs in every region of the placement."""

    image: Annotated[str, Field(min_length=1)]
    """The container image. The world on one machine runs ``command`` as a process instead."""
    command: Annotated[tuple[str, ...], Field(min_length=1)]
    """Program and arguments; $(NAME) stands for an environment variable, as in Kubernetes."""
    port: Annotated[int, Field(ge=1024, le=65535)] = 8000
    """Where it listens, on the address in POD_IP."""
    replicas: Count = 2
    """Pods per region."""
    resources: Requirements = Requirements()
    env: Annotated[dict[EnvName, str], Field(default_factory=dict)]
    """More environment variables. Not for secrets."""
    probes: Probes = Probes()
    autoscaling: Autoscaling | None = None
    """Left out: always ``replicas`` pods."""


class Engine(StrEnum):
    """Which database."""

    POSTGRES = "postgres"


class Database(Model):
    """The stateful part: one primary, a standby in every other region of the placement."""

    engine: Engine = Engine.POSTGRES
    """Which database."""
    version: Literal[18] = 18
    """PostgreSQL's major version."""
    replication: ReplicationMode = ReplicationMode.ASYNC
    """What an acknowledged write is promised: async, sync or quorum."""
    storage: Amount = parse_quantity("10Gi")
    """Size of each region's volume."""


class Traffic(Model):
    """How users reach it."""

    dns_ttl_s: Annotated[Seconds | None, Field(alias="dnsTTL")] = None
    """How long resolvers may keep an answer. Left out: as long as the RTO leaves room for, up to 30s."""


class Placement(Model):
    """Where it runs."""

    regions: Annotated[tuple[Name, ...] | None, Field(min_length=1)] = None
    """In order of preference. Left out: every region of the fleet that is no witness."""
    primary: Name | None = None
    """Where the database's primary starts, and is brought home to. Left out: the first region."""
    residency: tuple[Name, ...] = ()
    """Jurisdictions its data may be in. Empty: any."""


class ApplicationSpec(Model):
    """Everything an application consists of."""

    objectives: Objectives
    service: Service
    database: Database = Database()
    traffic: Traffic = Traffic()
    placement: Placement = Placement()


class Application(Model):
    """One application that survives the loss of a region."""

    api_version: ApiVersion
    """Always ``leeward.dev/v1alpha1``."""
    kind: Literal["Application"]
    """Always ``Application``."""
    metadata: Metadata
    spec: ApplicationSpec
