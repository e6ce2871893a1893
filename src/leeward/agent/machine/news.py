"""What is news to whoever reads the machine from beside it: DNS, exports, conditions.

It is more than decisions go by in a steady state (``relevance``): problems, standbys, disks and the progress on record,
too. What time alone changes is not news: ``silence_at_s`` says when the next of it is due.
"""

from collections.abc import Iterable

from leeward.agent.machine import events as on
from leeward.agent.machine import relevance
from leeward.agent.machine.store import StoreCopy
from leeward.core.settings import Timers
from leeward.core.values import InstanceReport, Phase
from leeward.core.view import Seen

NEVER_S = float("inf")


def is_news(event: on.Event, *, relevant: bool) -> bool:
    """Whether an event changed what is known; ``relevant``: a decision may change. Of the store ``reports_else``."""
    match event:
        case on.SnapshotTaken() | on.StoreMembersSeen() | on.PodsChanged():
            return True
        case on.Probed() | on.GatewayTried():
            return relevant
    # An instance's status is read from the region's heartbeat, as that of any other region.
    return False


def reports_else(before: Seen | None, after: Seen | None, timers: Timers) -> bool:
    """Whether a heartbeat reports anything but that WAL goes on."""
    if relevance.is_news(before, after, timers):
        return True
    if before is None or after is None:
        return False
    one, other = before.heartbeat.apps, after.heartbeat.apps
    return any(_differs(report, other[name]) for name, report in one.items())


def _differs(one: InstanceReport, other: InstanceReport) -> bool:
    return (
        one.problem != other.problem
        or one.weakened != other.weakened
        or one.disk != other.disk
        or one.orphans != other.orphans
        or one.broken_paths != other.broken_paths
        or one.pods_wanted != other.pods_wanted
        or one.has_data != other.has_data
        or one.lease_s != other.lease_s
        or one.data_regions != other.data_regions
        or one.acks_required != other.acks_required
        or _standbys(one) != _standbys(other)
    )


def _standbys(report: InstanceReport) -> list[tuple[str, bool, bool]]:
    return [(each.region, each.streaming, each.synchronous) for each in report.senders]


def silence_at_s(
    store: StoreCopy, lease_until_s: float, rtos_s: Iterable[float], now_s: float, timers: Timers
) -> float:
    """Return when the next silence counts: of a region, of the store, of this region's lease, or of a step too long.

    Never: nothing is known whose age would change anything.
    """
    due_s = [lease_until_s, store.heard_at_s + timers.lease_s + timers.margin_s]
    due_s += [seen.at_s + timers.lease_s for seen in store.seen.values()]
    under_way = [each.seen_at_s for each in store.topologies.values() if each.topology.phase is not Phase.STEADY]
    if under_way:
        due_s += [since_s + rto_s for since_s in under_way for rto_s in rtos_s]
    return min((at_s for at_s in due_s if at_s > now_s), default=NEVER_S)
