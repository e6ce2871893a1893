"""Decide where the quorum store's leader should be: with the heir, never with a primary.

When the leader dies with the primary, the store first elects a new one (1-2 s over a WAN), and that is added to
the outage. And whoever proposes next to the leader saves a round trip per step: so the leader belongs to the
region that is most likely to be elected, the first of the placement that leads no application.
"""

from collections.abc import Collection, Sequence

from leeward.core.values import Region


def move_to(
    leader: Region | None,
    me: Region,
    primaries: Collection[Region],
    healthy: Collection[Region],
    preferred: Sequence[Region],
) -> Region | None:
    """Return whom this region, the leader, should hand over to; None to leave it. ``preferred`` comes in order."""
    if leader != me:
        return None
    fit = (region for region in preferred if region not in primaries and (region == me or region in healthy))
    best = next(fit, None)
    return None if best == me else best
