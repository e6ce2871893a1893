"""Which events may change a decision. Most report no change, several times per second and region.

Always true: only while every application is steady, its primary was heard lately and holds its lease is anything
passed over, and never for longer than until the next heartbeat, when everything is judged again.
"""

from leeward.agent.machine.store import StoreCopy, StoredTopology
from leeward.core.settings import Timers
from leeward.core.values import InstanceReport, Phase, Region
from leeward.core.view import Seen

# A primary that missed one heartbeat is worth a closer look.
LATE_HEARTBEATS = 1.8


def quiet(store: StoreCopy, me: Region, lease_until_s: float, now_s: float, timers: Timers) -> bool:
    """Whether there is nothing under way and nothing to suspect."""
    steady = [_steady(stored, store, me, lease_until_s, now_s, timers) for stored in store.topologies.values()]
    return bool(steady) and all(steady)


def _steady(
    stored: StoredTopology, store: StoreCopy, me: Region, lease_until_s: float, now_s: float, timers: Timers
) -> bool:
    topology = stored.topology
    if topology.phase is not Phase.STEADY or topology.requested_mode is not None:
        return False
    if topology.joining is not None or topology.leaving is not None:
        return False
    if topology.generation != store.generation:
        return False
    if topology.primary == me:
        return lease_until_s - now_s > timers.lease_s / 2
    seen = store.seen.get(topology.primary) if topology.primary is not None else None
    return seen is not None and now_s - seen.at_s < LATE_HEARTBEATS * timers.heartbeat_s


def is_news(before: Seen | None, after: Seen | None, timers: Timers) -> bool:
    """Whether a heartbeat reports anything but that its region goes on as before."""
    if before is None or after is None:
        return before is not after
    one, other = before.heartbeat, after.heartbeat
    if (
        after.at_s - before.at_s >= timers.lease_s / 2
        or one.incarnation != other.incarnation
        or one.fence != other.fence
        or one.vantages != other.vantages
        or one.gateway_problem != other.gateway_problem
        or one.apps.keys() != other.apps.keys()
    ):
        return True
    news = [name for name, report in one.apps.items() if _says_else(report, other.apps[name])]
    return bool(news)


def _says_else(one: InstanceReport, other: InstanceReport) -> bool:
    """Compare what decisions go by in a steady state: all but how far the WAL is."""
    return (
        one.role is not other.role
        or one.epoch != other.epoch
        or one.writable != other.writable
        or one.upstream != other.upstream
        or one.healthy != other.healthy
        or one.answers != other.answers
        or one.pods_ready != other.pods_ready
        or (one.wal is None) != (other.wal is None)
    )
