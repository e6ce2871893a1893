"""Names under which other regions reach a region's services: written where external-dns reads them."""

from urllib.parse import urlsplit

from leeward.compile.target import Target

HOSTNAME = "external-dns.alpha.kubernetes.io/hostname"
TTL = "external-dns.alpha.kubernetes.io/ttl"
TTL_S = 30


def published(target: Target, address: str) -> dict[str, str]:
    """Return the annotations that publish a load balancer under the host of an address, a URL or a bare name.

    The world has none: its regions reach each other by address.
    """
    if target.pods is not None:
        return {}
    return {HOSTNAME: urlsplit(address).hostname or address, TTL: str(TTL_S)}
