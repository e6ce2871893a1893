"""The kind ``Application``: what must be kept up, and how well."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from leeward.core.values import FailoverPolicy, ReplicationMode
from leeward.spec.fleet import ApiVersion, Metadata
from leeward.spec.overrides import Environment, Override
from leeward.spec.traffic import Traffic
from leeward.spec.values import Amount, EnvName, HttpPath, Image, Model, Name, Seconds, parse_quantity
from leeward.spec.workload import (
    AntiAffinity,
    AppNetwork,
    Autoscaling,
    Count,
    Exposure,
    LogFormat,
    Metrics,
    Quota,
    Rollout,
    SecretVariable,
    Sidecars,
)


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
    deep: HttpPath | None = None
    """Answers 200 when it can do all its work, else 503 with reasons: agents query it, show it and alert on it; it
    moves neither traffic nor the primary. Gateways answer users 404 there. Left out: agents do not query it."""


class Service(Model):
    """The stateless part: an HTTP server that runs in every region of the placement."""

    image: Image
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
    config: Annotated[dict[EnvName, str], Field(default_factory=dict)]
    """More environment variables, kept in a ConfigMap. Not for secrets."""
    secrets: tuple[SecretVariable, ...] = ()
    """Environment variables whose values are in secrets."""
    expose: Exposure = Exposure.CLUSTER
    """Reachable by the gateways only, or also by a load balancer of its own."""
    log_format: LogFormat | None = None
    """Passed to the service in LOG_FORMAT. Left out: the service decides."""
    anti_affinity: AntiAffinity = AntiAffinity.NONE
    """Whether two of its pods may share a node. They are spread as far as possible anyway."""
    node_selector: Annotated[dict[str, str], Field(default_factory=dict)]
    """Labels of the nodes its pods may run on."""
    interruptible: bool = False
    """Its pods may run on spot machines."""
    metrics: Metrics | None = None
    """Where it shows its own metrics. Left out: it has none."""


class Engine(StrEnum):
    """Which database."""

    POSTGRES = "postgres"
    COCKROACHDB = "cockroachdb"


class Operator(StrEnum):
    """Who runs PostgreSQL inside a cluster."""

    LEEWARD = "leeward"
    CLOUDNATIVE_PG = "cloudnative-pg"


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
    wal_retention: Annotated[int, Field(ge=0, le=100)] = 50
    """Which part of the free volume may hold WAL for replicas that are away, in percent. A replica that lacks more is
    copied again, and writes go on. With 100 WAL is kept until the volume is full, and writes stop."""
    wal_prefetch: bool = True
    """Whether standbys ask a newly promoted primary ahead for its WAL, which shortens failovers and switchovers in sync
    and quorum. Turn it off if standbys fail to follow a promotion."""
    operator: Operator = Operator.LEEWARD
    """Leeward's instance manager, or CloudNativePG's replica clusters, on Kubernetes: promoting one, and the way to its
    primary, are up to you."""
    instances: Annotated[int, Field(ge=1, le=9)] = 3
    """With cloudnative-pg or cockroachdb: members in each region."""
    storage_class: str | None = None
    """Left out: by the region's zones where they are known, else the cluster's own default."""


class Placement(Model):
    """Where it runs."""

    regions: Annotated[tuple[Name, ...] | None, Field(min_length=1)] = None
    """In order of preference. Left out: every region of the fleet except witnesses."""
    primary: Name | None = None
    """Where the database's primary starts, and where a failback moves it. Left out: the first region."""
    residency: tuple[Name, ...] = ()
    """Jurisdictions its data may be in. Empty: any."""
    tier: Annotated[int, Field(ge=1, le=3)] = 2
    """How critical it is: 1 is the most critical."""


class ApplicationSpec(Model):
    """Everything an application consists of."""

    objectives: Objectives = Objectives.model_validate({"rto": "30s", "rpo": "5s"})
    """What users may notice of the loss of a region. Left out: rto 30s, rpo 5s."""
    failover: FailoverPolicy = FailoverPolicy.AUTOMATIC
    """What happens when a primary is lost: another region takes over, or that is only decided, logged and counted
    (observe), for the first weeks of a new user. Commands fail over and switch over in both."""
    service: Service
    database: Database = Database()
    traffic: Traffic = Traffic()
    placement: Placement = Placement()
    rollout: Rollout = Rollout()
    sidecars: Sidecars = Sidecars()
    network: AppNetwork = AppNetwork()
    quota: Quota = Quota()
    namespace: Name | None = None
    """Where its objects live. Left out: a namespace of its name."""
    environments: tuple[Environment, ...] = ()
    """Variants of it, such as production. A cluster runs the one it names, or the first."""
    overrides: tuple[Override, ...] = ()
    """What differs in some regions or clusters."""


class Application(Model):
    """One application that survives the loss of a region."""

    api_version: ApiVersion
    """Always ``leeward.dev/v1alpha1``."""
    kind: Literal["Application"]
    """Always ``Application``."""
    metadata: Metadata
    spec: ApplicationSpec

    @property
    def namespace(self) -> str:
        """Where its objects live."""
        return self.spec.namespace or self.metadata.name
