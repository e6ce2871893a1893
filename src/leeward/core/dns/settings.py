"""Which names the agents answer for, and what they need to know to answer: part of an agent's settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from leeward.core.values import App, Region


class Policy(StrEnum):
    """Which region an application's public name leads to."""

    GEOGRAPHIC = "geographic"
    LATENCY = "latency"
    WEIGHTED = "weighted"
    FAILOVER = "failover"


@dataclass(frozen=True, slots=True)
class NamedRegion:
    """One region of the fleet, as far as names go."""

    name: Region
    networks: tuple[str, ...]
    """Addresses known to be near it, as prefixes: 10.1.0.0/16."""
    gateway: str
    """Where users reach its gateway: an address, or a name whose addresses are looked up."""
    server: str
    """Where its DNS server is reached; as ``gateway``."""


@dataclass(frozen=True, slots=True)
class NamedApp:
    """One application's public name."""

    app: App
    host: str
    """In lower case, without the final dot."""
    policy: Policy
    ttl_s: int
    regions: tuple[Region, ...]
    """Where it runs, the first to be tried first."""
    weights: Mapping[Region, int]
    nearest: Mapping[Region, tuple[Region, ...]]
    """For users near each region of the fleet: where it runs, nearest first, as the policy measures nearness."""


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """What the agents answer for."""

    domain: str
    listen_host: str
    listen_port: int
    regions: tuple[NamedRegion, ...]
    apps: tuple[NamedApp, ...]


def regional_name(host: str, region: str) -> str:
    """Return an application's name in one region: payments-us-east-1.example.com."""
    label, _, domain = host.partition(".")
    return f"{label}-{region}.{domain}"
