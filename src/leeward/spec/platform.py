"""What the clusters of a fleet share: mesh, network between them, names, telemetry, delivery, machines.

Everything that needs custom resources of another project is off until its key is there, so that a fleet
without them still gets objects that any cluster accepts.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from leeward.spec.values import Cidr, Digest, Image, Model, Name, Seconds

Text = Annotated[str, Field(min_length=1)]


class MeshKind(StrEnum):
    """Who carries requests between pods."""

    ISTIO = "istio"
    GATEWAY_API = "gateway-api"
    NONE = "none"


class Mesh(Model):
    """How requests travel between pods and between clusters."""

    kind: MeshKind = MeshKind.NONE
    """Istio's objects, those of the Gateway API, or none: plain services and Leeward's own gateways."""
    gateway_class: Text = "istio"
    """With gateway-api: the class of the gateways."""
    gateway_namespace: Name | None = None
    """With gateway-api: where the gateways' pods run. Left out, with class istio: in each application's namespace."""


class Join(StrEnum):
    """How the clusters' networks become one."""

    WIREGUARD = "wireguard"
    PEERING = "peering"
    NONE = "none"


class Network(Model):
    """The network between clusters. Leeward's own gateways need none of it."""

    join: Join = Join.NONE
    """Tunnels between all clusters, peered networks of one provider, or nothing."""
    tunnel_cidr: Annotated[Cidr, Field(alias="tunnelCIDR")] = "172.30.0.0/24"
    """With wireguard: addresses of the tunnels' ends."""
    tunnel_port: Annotated[int, Field(ge=1024, le=65535)] = 51820
    """With wireguard: where a tunnel's end listens, on UDP."""
    names: bool = False
    """Cross-cluster names, ``service.namespace.svc.cluster.REGION``, by forwarding between the clusters' CoreDNS."""
    exports: bool = False
    """Export every application's service by the multi-cluster services API."""


class Monitoring(Model):
    """Metrics by the Prometheus operator, dashboards by Grafana's sidecar."""

    namespace: Name = "monitoring"
    """Where Prometheus runs; it may reach the metrics of every application."""
    runbooks: Text = "https://leeward.dev/runbooks"
    """What the alerts' links to runbooks begin with."""


class Tracing(Model):
    """Traces by an OpenTelemetry collector in each cluster."""

    jaeger: Text = "jaeger-collector.observability.svc:4317"
    """Where the collector sends them, OTLP over gRPC."""
    sample: Annotated[float, Field(gt=0, le=100)] = 10.0
    """Percent of the traces that are kept."""


class Logging(Model):
    """Logs by Fluent Bit, to Loki."""

    loki_host: Text = "loki-gateway.logging.svc"
    """Loki's host."""
    loki_port: Annotated[int, Field(ge=1, le=65535)] = 80
    """Loki's port."""


class DnsProvider(StrEnum):
    """Who answers for the fleet's domain."""

    LEEWARD = "leeward"
    ROUTE53 = "route53"
    CLOUD_DNS = "cloud-dns"
    AZURE = "azure"
    CLOUDFLARE = "cloudflare"


class Dns(Model):
    """Public names of the applications."""

    provider: DnsProvider = DnsProvider.LEEWARD
    """Leeward's agents answer themselves, or records are written for a provider. Names lead to the gateways, which take
    users in plain HTTP on port 80: what ends TLS stands before them."""
    zone_id: Text | None = None
    """The zone's name or id at the provider. Left out: the domain with dashes, as route53's HostedZone object or the
    zone of cloud-dns is called."""


class Store(Model):
    """The quorum store that the agents decide by: its backups."""

    backup_every_s: Annotated[Seconds, Field(alias="backupEvery", ge=10)] = 600.0
    """How often each region's agent backs it up; a backup older than three times that is reported."""
    backups_kept: Annotated[int, Field(alias="backupsKept", ge=2, le=100)] = 6
    """How many backups each region keeps, on a volume of their own."""


class Images(Model):
    """Which container images run. A tag can be moved to other content, a digest cannot."""

    digests: Annotated[dict[Image, Digest], Field(default_factory=dict)]
    """The digest of each image that is named by a tag, also of Leeward's own: ``ghcr.io/acme/shop:1.4: sha256:...``."""
    digests_required: bool = False
    """Refuse every image that names no digest, here or in its reference."""


class GitOps(Model):
    """Delivery by Argo CD, one in every region."""

    repository: Text
    """The repository that holds the rendered tree."""
    revision: Text = "main"
    """What the regions follow; region R follows the branch ``REVISION-R`` when ``promote`` is on."""
    promote: bool = False
    """A branch per region, so that a change reaches one region at a time, however the Argo CDs are configured."""
    path: Text = "."
    """Where the tree is in the repository."""


class SecretsBy(StrEnum):
    """Who brings secrets into clusters."""

    EXTERNAL_SECRETS = "external-secrets"
    SEALED = "sealed"
    ELSEWHERE = "elsewhere"


class Secrets(Model):
    """Where the values of secrets come from. They are never in these files, nor in what is rendered."""

    by: SecretsBy = SecretsBy.ELSEWHERE
    """By the External Secrets operator, as SealedSecrets beside these files, or by other means."""
    store: Name = "leeward"
    """With external-secrets: the ClusterSecretStore to read from."""
    refresh_s: Annotated[Seconds, Field(alias="refresh")] = 3600.0
    """With external-secrets: how often values are read again."""


class Capacity(StrEnum):
    """How a machine is paid for."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"


class NodePool(Model):
    """Machines that a cluster gets by need, from Karpenter or the provider's like."""

    name: Name
    """Unique in the fleet."""
    capacity: Annotated[tuple[Capacity, ...], Field(min_length=1)] = (Capacity.ON_DEMAND,)
    """In order of preference: [spot, on-demand] falls back when spot runs out."""
    families: Annotated[tuple[Text, ...], Field(default=())]
    """Machine families. Left out: what the provider's generator is for: general purpose, current generation."""
    cpu_max: Annotated[int, Field(ge=1)] = 100
    """CPUs of all its machines together, per cluster."""
    price_per_hour: Annotated[float | None, Field(gt=0)] = None
    """On-demand price of one CPU for an hour, to estimate what spot saves."""
    spot_discount: Annotated[float, Field(ge=0, lt=100)] = 65.0
    """Percent that spot is cheaper, for the estimate."""


class ClusterApi(Model):
    """Clusters as objects: Cluster API creates, scales and upgrades them."""

    namespace: Name = "clusters"
    """Where the management cluster keeps them."""
    machines: Text | None = None
    """The machines' type. Left out: the provider's general purpose one with two CPUs and eight GiB."""


class Gateway(Model):
    """What one client may take of a region's gateway. A client is an IPv4 address or an IPv6 /64."""

    requests_per_client: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Requests a second; twice as many at once after a pause. One more is answered 429. Raise it where thousands of
    users share an address."""
    connections_per_client: Annotated[int, Field(ge=1, le=10_000)] = 2500
    """Connections of users at once, of 10,000 in all. One more is closed. One in 32 addresses shares them."""
    proxies: tuple[Cidr, ...] = ()
    """Networks of load balancers in front that end users' connections. Requests from there count for the client that
    is named last in ``X-Forwarded-For``, and their connections are not limited."""


class Entry(Model):
    """One anycast address for all clusters of Google's: MultiClusterIngress on the first of them."""

    address: Text
    """The reserved global address."""
    certificate: Text | None = None
    """The pre-shared certificate; TLS ends at the entry."""
