"""Who may send orders to an instance manager, over mTLS.

The instance manager's certificate is of the instances' authority, for servers, and names the application and the
region. Its clients' are of the fleet's authority: another instance manager has no such certificate.
"""

from collections.abc import Mapping
from typing import Any

from leeward.core.identities import SCHEME, operator_uri, region_uri, uris


def may_order(certificate: Mapping[str, Any] | None, region: str) -> bool:
    """Return whether a verified client is the region's agent or an operator, of the fleet that its certificate names.

    The authority that verified it is of one fleet.
    """
    names = uris(certificate)
    fleets = {uri.removeprefix(SCHEME).partition("/")[0] for uri in names if uri.startswith(SCHEME)}
    return any(not names.isdisjoint({region_uri(fleet, region), operator_uri(fleet)}) for fleet in fleets)
