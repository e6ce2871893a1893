"""Count failovers that were needless, and those that were only observed.

Needless: the deposed primary's agent is heard again, the same process as before, within a minute of its last
heartbeat. It had stood still, or was cut off; a longer patience would have spared the failover. Each is counted once:
whoever counts first replaces the tally by compare-and-swap.
"""

from dataclasses import dataclass, replace

from leeward.core import election
from leeward.core.actions import Count, Decision, Note
from leeward.core.fast_frozen import fast_frozen
from leeward.core.values import Phase, Region, ReplicationMode, Role, Topology
from leeward.core.view import Seen, View

NEEDLESS_WITHIN_S = 60.0
# How long the returned region may take to follow the new primary before it is counted without what it lost.
REJOIN_WITHIN_S = 120.0


@fast_frozen
@dataclass(frozen=True, slots=True)
class Deposed:
    """A primary that was deposed because it was silent, as it was heard last."""

    epoch: int
    """The epoch that its deposing opened."""
    region: Region
    incarnation: str
    """Of its agent."""
    heard_at_s: float
    back_at_s: float | None = None
    """When the same agent was heard again."""


def withheld(view: View, topology: Topology, because: str, *, of: str, silent_s: float) -> Decision:
    """Return the decision to do nothing about a lost primary, and to count that once for each loss ``of``."""
    heir = election.heir(view, topology)
    would = f"{heir} would be elected" if heir is not None else "no reachable replica could be elected"
    sentence = f"{because}; {would}, but failover is set to observe"
    if view.tally.withheld_of == of:
        return Decision(sentence)
    counted = replace(view.tally, withheld=view.tally.withheld + 1, withheld_of=of)
    note = Note("FailoverWouldHaveStarted", sentence, silent_s)
    return Decision(sentence, (Count(counted, topology.epoch, note),))


def remember(view: View, known: Deposed | None, under_old_fence: Seen | None) -> Deposed | None:
    """Return which deposed primary to look out for, if any: the last one that was deposed for its silence.

    An agent that did not reach the store meanwhile sees the last heartbeat and the election at the same moment, so it
    cannot tell how long the silence lasted, and leaves the count to the others. The deposed region is one of those.
    """
    topology = view.topology
    if topology is None or topology.phase is not Phase.ELECTING or topology.deposed is None:
        return known
    if known is not None and known.epoch == topology.epoch:
        return known
    silent = topology.deposed_lease_over and topology.request is None
    if not silent or under_old_fence is None or view.me == topology.deposed:
        return None
    if view.topology_seen_at_s - under_old_fence.at_s < view.timers.lease_s / 2:
        return None
    heartbeat = under_old_fence.heartbeat
    return Deposed(topology.epoch, topology.deposed, heartbeat.incarnation, under_old_fence.at_s)


def look_out(view: View, deposed: Deposed, gap_s: float | None) -> tuple[Deposed | None, Count | None]:
    """Return what is still to be looked out for, and what is to be counted now.

    ``gap_s``: how long the failover kept writes from being accepted; None while it is not over.
    """
    if view.tally.needless_epoch >= deposed.epoch:
        return None, None
    seen = view.seen.get(deposed.region)
    if deposed.back_at_s is None:
        if seen is None or seen.at_s <= deposed.heard_at_s:
            late = view.now_s - deposed.heard_at_s > NEEDLESS_WITHIN_S
            return (None if late else deposed), None
        if seen.heartbeat.incarnation != deposed.incarnation or seen.at_s - deposed.heard_at_s > NEEDLESS_WITHIN_S:
            return None, None
        deposed = replace(deposed, back_at_s=seen.at_s)
    assert deposed.back_at_s is not None
    report = view.report(deposed.region)
    follows = report is not None and report.role is Role.STANDBY and report.upstream is not None
    given_up = view.now_s - deposed.back_at_s > REJOIN_WITHIN_S
    if gap_s is None or not (follows or given_up):
        return (None if given_up else deposed), None
    orphans = report.orphans if report is not None else ()
    orphaned = sum(each.transactions for each in orphans if each.epoch == deposed.epoch - 1)
    # Where commits wait for standbys, what became an orphan was not acknowledged.
    lost = orphaned if view.topology is not None and view.topology.mode is ReplicationMode.ASYNC else 0
    silent_s = deposed.back_at_s - deposed.heard_at_s
    because = (
        f"{deposed.region} was silent for {silent_s:.1f} s and is back unchanged; the failover cost {gap_s:.1f} s "
        f"without writes and {lost} acknowledged transactions. A longer RTO would have avoided it"
    )
    counted = replace(
        view.tally,
        needless=view.tally.needless + 1,
        needless_epoch=deposed.epoch,
        needless_lost=view.tally.needless_lost + lost,
        needless_gap_s=view.tally.needless_gap_s + gap_s,
    )
    return deposed, Count(counted, deposed.epoch, Note("FailoverNeedless", because, gap_s))
