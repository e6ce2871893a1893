"""Decide where the quorum store's leader should be: not in a region whose loss starts a failover.

When the leader dies with the primary, the store elects a new one first (1-2 s over a WAN), and that is added
to the outage's reports; so the leader is moved to a healthy region that leads no application, the nearest.
"""

from collections.abc import Collection, Mapping

from leeward.core.values import Region


def move_to(
    leader: Region | None,
    me: Region,
    primaries: Collection[Region],
    healthy: Collection[Region],
    rtt_s: Mapping[Region, float],
) -> Region | None:
    """Return whom this region should hand the store's leadership to, or None to leave it."""
    if leader != me or me not in primaries:
        return None
    better = [region for region in healthy if region != me and region not in primaries]
    return min(better, key=lambda region: (rtt_s.get(region, float("inf")), region), default=None)
