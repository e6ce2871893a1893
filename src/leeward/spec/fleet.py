"""The kind ``Fleet``: which regions there are, where they stand and how far apart they are."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from leeward.spec.values import Cidr, Model, Name, Seconds

ApiVersion = Literal["leeward.dev/v1alpha1"]


class Provider(StrEnum):
    """Whose region it is."""

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


class Region(Model):
    """A place that can be lost as a whole."""

    name: Name
    """Unique in the fleet."""
    provider: Provider = Provider.OTHER
    """Whose region it is."""
    location: Location
    """For nearest-first routing, and for delays that ``links`` does not give."""
    residency: Name | None = None
    """The jurisdiction its data is under, such as ``eu``; applications can ask for it."""
    witness: bool = False
    """It takes part in the quorum and runs no workloads."""
    clusters: tuple[Cluster, ...] = ()
    """Its Kubernetes clusters. The world on one machine needs none."""


class Link(Model):
    """How far apart two regions are."""

    between: Annotated[tuple[Name, ...], Field(min_length=2, max_length=2)]
    """The two regions."""
    rtt_s: Annotated[Seconds, Field(alias="rtt")]
    """Round trip between them, as measured: 80ms."""


class FleetSpec(Model):
    """Everything a fleet consists of."""

    regions: Annotated[tuple[Region, ...], Field(min_length=1)]
    """At least three, so that the others can outvote a lost one; one of them may be a witness."""
    links: tuple[Link, ...] = ()
    """Measured round trips. A pair that is left out gets an estimate from the distance."""
    domain: str | None = None
    """The DNS zone Leeward answers for, such as ``example.com``."""


class Fleet(Model):
    """The regions your applications run in."""

    api_version: ApiVersion
    """Always ``leeward.dev/v1alpha1``."""
    kind: Literal["Fleet"]
    """Always ``Fleet``."""
    metadata: Metadata
    spec: FleetSpec
