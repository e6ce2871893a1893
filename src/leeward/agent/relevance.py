"""Which events may change a decision. Most say that all is as it was, several times per second and region.

Always true: only while every application is steady, its primary was heard lately and holds its lease is anything
passed over, and never for longer than until the next heartbeat, when everything is judged again.
"""

from collections.abc import Iterable

from leeward.agent.store import StoreCopy, StoredTopology
from leeward.core.settings import Timers
from leeward.core.values import InstanceReport, Phase, Region
from leeward.core.view import Seen

# A primary that missed one heartbeat is worth a closer look.
LATE_HEARTBEATS = 1.8


def quiet(store: StoreCopy, me: Region, lease_until_s: float, now_s: float, timers: Timers) -> bool:
    """Whether there is nothing under way and nothing to suspect."""
    return bool(store.topologies) and all(
        _steady(stored, store, me, lease_until_s, now_s, timers) for stored in store.topologies.values()
    )


def _steady(
    stored: StoredTopology, store: StoreCopy, me: Region, lease_until_s: float, now_s: float, timers: Timers
) -> bool:
    topology = stored.topology
    if topology.phase is not Phase.STEADY or topology.requested_mode is not None:
        return False
    if topology.primary == me:
        return lease_until_s - now_s > timers.lease_s / 2
    seen = store.seen.get(topology.primary) if topology.primary is not None else None
    return seen is not None and now_s - seen.at_s < LATE_HEARTBEATS * timers.heartbeat_s


def is_news(before: Iterable[Seen | None], after: Iterable[Seen | None], timers: Timers) -> bool:
    """Whether heartbeats say anything but that their regions go on as before."""
    return any(_differs(one, other, timers) for one, other in zip(before, after, strict=True))


def _differs(before: Seen | None, after: Seen | None, timers: Timers) -> bool:
    if before is None or after is None:
        return before is not after
    one, other = before.heartbeat, after.heartbeat
    return (
        after.at_s - before.at_s >= timers.lease_s / 2
        or one.incarnation != other.incarnation
        or one.fence != other.fence
        or one.vantages != other.vantages
        or one.apps.keys() != other.apps.keys()
        or any(_gist(report) != _gist(other.apps[name]) for name, report in one.apps.items())
    )


def _gist(report: InstanceReport) -> tuple[object, ...]:
    """Return what decisions go by in a steady state: all but how far the WAL is."""
    has_wal = report.wal is not None
    return (report.role, report.epoch, report.writable, report.upstream, report.healthy, report.pods_ready, has_wal)
