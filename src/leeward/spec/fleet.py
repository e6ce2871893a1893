"""The kind ``Fleet``: which regions there are, where they stand and how far apart they are."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from leeward.spec.platform import (
    ClusterApi,
    Dns,
    Entry,
    Gateway,
    GitOps,
    Images,
    Logging,
    Mesh,
    Monitoring,
    Network,
    NodePool,
    Secrets,
    Store,
    Text,
    Tracing,
)
from leeward.spec.values import Cidr, DnsName, Model, Name, Seconds

VERSION_PATTERN = r"^1\.[0-9]{1,2}(\.[0-9]{1,2})?$"
KEY_PATTERN = r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$"

ApiVersion = Literal["leeward.dev/v1alpha1"]


class Provider(StrEnum):
    """The cloud provider of the region."""

    AWS = "aws"
    GCP = "gcp"
    AZURE = "azure"
    OTHER = "other"


class Metadata(Model):
    """What the document is called."""

    name: Name
    """Unique among documents of its kind."""


class Location(Model):
    """Where a region stands, in degrees."""

    latitude: Annotated[float, Field(ge=-90, le=90)]
    """North is positive."""
    longitude: Annotated[float, Field(ge=-180, le=180)]
    """East is positive."""


class Tunnel(Model):
    """A cluster's end of the WireGuard tunnels. Its private key stays in the cluster's secret store."""

    endpoint: Text
    """Where the other clusters reach it: a public name or address, without port."""
    public_key: Annotated[str, Field(pattern=KEY_PATTERN)]
    """What ``wg pubkey`` printed."""


class Cluster(Model):
    """One Kubernetes cluster of a region."""

    name: Name
    """Unique in the fleet."""
    context: str | None = None
    """Its context in your kubeconfig; the name, if you leave it out."""
    pod_cidr: Annotated[Cidr | None, Field(alias="podCIDR")] = None
    """Addresses of its pods. No two clusters of a fleet may share any."""
    service_cidr: Annotated[Cidr | None, Field(alias="serviceCIDR")] = None
    """Addresses of its services. No two clusters of a fleet may share any."""
    environment: Name | None = None
    """Which of an application's environments it runs. Left out: the first one, where an application has any."""
    version: Annotated[str, Field(pattern=VERSION_PATTERN)] = "1.33.4"
    """Its Kubernetes version. With Cluster API, changing it here upgrades the cluster."""
    control_plane_replicas: Annotated[int, Field(ge=1, le=7)] = 3
    """With Cluster API: API servers with an etcd member each, so an odd number."""
    workers: Annotated[int, Field(ge=1, le=1000)] = 3
    """With Cluster API: machines it starts with."""
    zones: tuple[Text, ...] = ()
    """Its zones. Left out: the region's."""
    vpc_cidr: Annotated[Cidr | None, Field(alias="vpcCIDR")] = None
    """Addresses of its machines. No two clusters of a fleet may share any."""
    network: Text | None = None
    """The provider's name of its network, for peering."""
    project: Text | None = None
    """With Cluster API on Google Cloud: the project that its machines are in."""
    dns_address: Annotated[str | None, Field(alias="dnsAddress")] = None
    """Where its CoreDNS answers other clusters, for cross-cluster names."""
    tunnel: Tunnel | None = None
    """Its end of the tunnels, with ``network.join: wireguard``."""


class Region(Model):
    """A place that can be lost as a whole."""

    name: Name
    """Unique in the fleet."""
    provider: Provider = Provider.OTHER
    """The cloud provider of the region."""
    location: Location
    """For nearest-first routing, and for delays that ``links`` does not give."""
    residency: Name | None = None
    """The jurisdiction its data is under, such as ``eu``; applications can ask for it."""
    witness: bool = False
    """It takes part in the quorum and runs no workloads."""
    zones: tuple[Text, ...] = ()
    """Its zones, as the provider calls them: volumes and pods are spread over them."""
    clusters: tuple[Cluster, ...] = ()
    """Its Kubernetes clusters. The world on one machine needs none."""


class Link(Model):
    """How far apart two regions are."""

    between: Annotated[tuple[Name, ...], Field(min_length=2, max_length=2)]
    """The two regions."""
    rtt_s: Annotated[Seconds, Field(alias="rtt")]
    """Round trip between them, as measured: 80ms."""


class Freeze(Model):
    """How often a region stands still for so long, according to its provider or your monitoring (``leeward tune``)."""

    lasting_s: Annotated[Seconds, Field(alias="lasting")]
    """For how long: 8s."""
    per_year: Annotated[float, Field(gt=0)]
    """How often a year, in each region."""


class FleetSpec(Model):
    """Everything a fleet consists of."""

    regions: Annotated[tuple[Region, ...], Field(min_length=1)]
    """At least three, so that the others are a majority when one is lost; one of them may be a witness."""
    links: tuple[Link, ...] = ()
    """Measured round trips. A pair that is left out gets an estimate from the distance."""
    freezes: tuple[Freeze, ...] = ()
    """How often regions stand still: ``validate`` and ``simulate`` show which of that fails over."""
    domain: DnsName | None = None
    """The DNS zone Leeward answers for, such as ``example.com``."""
    mesh: Mesh = Mesh()
    """How requests travel between pods and between clusters."""
    network: Network = Network()
    """The network between clusters. Leeward's own gateways need none of it."""
    dns: Dns = Dns()
    """Public names of the applications."""
    store: Store = Store()
    """Backups of the quorum store."""
    secrets: Secrets = Secrets()
    """Where the values of secrets come from. They are never in these files, nor in what is rendered."""
    images: Images = Images(digests={})
    """Container images by digest, on Kubernetes."""
    monitoring: Monitoring | None = None
    """Metrics, alerts and dashboards. Left out: none."""
    tracing: Tracing | None = None
    """Traces. Left out: none."""
    logging: Logging | None = None
    """Logs. Left out: what the clusters do by default."""
    gitops: GitOps | None = None
    """Delivery by Argo CD. Left out: none of its objects."""
    node_pools: tuple[NodePool, ...] = ()
    """Node pools by capacity type. Left out: the nodes that the clusters have."""
    cluster_api: Annotated[ClusterApi | None, Field(alias="clusterAPI")] = None
    """Clusters as objects. Left out: they are created outside Leeward."""
    gateway: Gateway = Gateway()
    """Limits for each client of the regions' gateways."""
    entry: Entry | None = None
    """A global anycast entry. Left out: Leeward's gateways are the entries."""


class Fleet(Model):
    """The regions your applications run in."""

    api_version: ApiVersion
    """Always ``leeward.dev/v1alpha1``."""
    kind: Literal["Fleet"]
    """Always ``Fleet``."""
    metadata: Metadata
    spec: FleetSpec
