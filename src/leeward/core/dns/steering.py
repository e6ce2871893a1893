"""Pick the region that a user's question is answered with.

Always true: the same user gets the same answer while nothing changes, and when a region goes or comes only
its own users move. Chance is a hash of the user's network, so every agent picks alike.
"""

import math
from collections.abc import Mapping
from hashlib import blake2b
from ipaddress import IPv4Network, IPv6Network, ip_network

from leeward.core.dns.settings import NamedApp, NamedRegion, Policy
from leeward.core.values import Region

Network = IPv4Network | IPv6Network

# Users of one such network stay together: resolvers pass on prefixes of about this length.
TOGETHER_BITS = {4: 24, 6: 56}


class Atlas:
    """Which region a user is near."""

    def __init__(self, regions: tuple[NamedRegion, ...]) -> None:
        known = [(ip_network(text), region.name) for region in regions for text in region.networks]
        self._known = sorted(known, key=lambda entry: -entry[0].prefixlen)

    def near(self, client: Network, asked: Region) -> Region:
        """Return the region whose networks hold the client's; else the one it asked: resolvers ask the nearest."""
        return next((region for network, region in self._known if _within(client, network)), asked)


def _within(client: Network, network: Network) -> bool:
    if isinstance(client, IPv4Network):
        return isinstance(network, IPv4Network) and client.subnet_of(network)
    return isinstance(network, IPv6Network) and client.subnet_of(network)


def user_of(client: Network) -> str:
    """Return the user that a client counts as: all clients of its network are one user."""
    bits = min(client.prefixlen, TOGETHER_BITS[client.version])
    return str(client.supernet(new_prefix=bits))


def pick(app: NamedApp, near: Region, shares: Mapping[Region, float], user: str) -> tuple[Region, ...]:
    """Return the region for this user; all of them, nearest first, when none is fit: a panic."""
    candidates = [region for region in app.regions if shares.get(region, 0.0) > 0.0]
    in_order = app.nearest.get(near, app.regions)
    if not candidates:
        return in_order
    if app.policy is Policy.WEIGHTED:
        weights = {region: app.weights.get(region, 0) * shares[region] for region in candidates}
        if not any(weights.values()):
            weights = {region: shares[region] for region in candidates}
        return (max(candidates, key=lambda region: _score(user, region, weights[region])),)
    if app.policy is Policy.FAILOVER:
        in_order = app.regions
    for region in in_order:
        if region in candidates and _chance(user, region) < shares[region]:
            return (region,)
    return (max(candidates, key=lambda region: shares[region]),)


def _chance(user: str, region: Region) -> float:
    """Return a number from 0 to 1, 1 not included: the user's fixed draw for this region."""
    digest = blake2b(f"{user} {region}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


def _score(user: str, region: Region, weight: float) -> float:
    """Return a number whose maximum falls on each region in proportion to its weight (rendezvous hashing)."""
    return weight / -math.log(max(_chance(user, region), 2.0**-49)) if weight > 0 else 0.0
