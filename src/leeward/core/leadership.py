"""Decide where the quorum store's leader should be: with the heir, never with a primary.

When the leader dies with the primary, the store first elects a new one (1-2 s over a WAN), and that is added to
the outage. And whoever proposes next to the leader saves a round trip per step: so the leader belongs to the
region that is most likely to be elected, the first of the placement that leads no application.

A primary keeps its lease by heartbeats through the leader: a region that cannot see a primary, or is not seen by it,
would end that lease by leading. So it is never handed over to one.
"""

from collections.abc import Collection, Mapping, Sequence

from leeward.core.values import Region
from leeward.core.view import Seen


def move_to(
    leader: Region | None,
    me: Region,
    primaries: Collection[Region],
    fit: Collection[Region],
    preferred: Sequence[Region],
) -> Region | None:
    """Return the region that this one, the leader, should hand over to; None to keep the leadership.

    ``fit``: which of the others could lead. ``preferred`` comes in order.
    """
    if leader != me:
        return None
    better = (region for region in preferred if region not in primaries and (region == me or region in fit))
    best = next(better, None)
    return None if best == me else best


def reaching(primaries: Collection[Region], seen: Mapping[Region, Seen]) -> set[Region]:
    """Return the regions that see every primary serving and are seen serving by it, as far as heartbeats show."""

    def sees(one: Region, other: Region) -> bool:
        vantage = seen[one].heartbeat.vantages.get(other) if one in seen else None
        return vantage is not None and vantage.serving

    return {
        region
        for region in seen
        if all(region == primary or (sees(region, primary) and sees(primary, region)) for primary in primaries)
    }
