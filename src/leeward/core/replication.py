"""Decide what this region's instance must be, from the topology in force. A level, not a step.

Always true: the order for a primary is given only where the topology names it, and carries its epoch; during an
election every replica is cut first, and lines up behind the favourite only after it promised.
Not here: how PostgreSQL gets there (the instance manager), and the lease, without which it stays silent.
"""

from dataclasses import replace

from leeward.core import data_regions, election, membership, recovery, switchover
from leeward.core.failover import is_founding, old_primary_stopped
from leeward.core.values import (
    Order,
    Phase,
    Region,
    ReplicationMode,
    Role,
    Synchronous,
    SynchronousMethod,
    Topology,
)
from leeward.core.view import View

# A standby this much further behind than another one no longer comes first in line.
SLOW_LEASES = 0.5


def order(view: View) -> Order | None:
    """Return what this region's instance must be now; None where the topology does not decide, or is in doubt."""
    topology = view.topology
    if topology is None or recovery.doubt(view) is not None:
        return None
    replicas = data_regions.replicas(topology)
    # Not yet one, or no longer: in force is a set without it. Its data stays on its volume.
    wanted = _order(view, topology) if view.me in replicas else Order(topology.epoch, Role.STOPPED)
    wanted = replace(
        wanted, replicas=replicas, data_regions=topology.data_regions, acks_required=topology.acks_required
    )
    if wanted.role in (Role.STANDBY, Role.DETACHED) and view.me in topology.data_regions:
        # It carries the names before it is ever promoted: commits wait by what PostgreSQL's checkpointer has loaded.
        return replace(wanted, synchronous=synchronous(view, topology))
    return wanted


def _order(view: View, topology: Topology) -> Order:
    epoch = topology.epoch
    if view.me == topology.joining:
        # A learner does not count, so no other standby lines up with it.
        following = topology.primary is not None
        return Order(epoch, Role.STANDBY, upstream=topology.primary) if following else Order(epoch, Role.DETACHED)
    if topology.phase is Phase.ELECTING:
        return _electing(view, topology)
    if topology.primary == view.me:
        if topology.phase is Phase.SWITCHING:
            if view.instance is not None and switchover.drained(view.instance, topology):
                return switchover.follow(topology)
            if switchover.lined_up(view, topology):
                return Order(epoch, Role.STOPPED)
        if topology.phase is Phase.PROMOTING and not switchover.holds_handover(view, topology):
            return Order(epoch, Role.STANDBY, upstream=topology.deposed)
        return Order(epoch, Role.PRIMARY, synchronous=synchronous(view, topology), founding=is_founding(view, topology))
    if topology.phase is Phase.SWITCHING and topology.target not in (None, view.me) and topology.acks_required <= 1:
        return Order(epoch, Role.STANDBY, upstream=topology.target)
    return Order(epoch, Role.STANDBY, upstream=_heir(view, topology) or topology.primary)


def _heir(view: View, topology: Topology) -> Region | None:
    """Return the region to line up behind while the primary is suspected; None while it is not.

    Connecting costs round trips that an outage has time for before the lease is over. A false suspicion
    costs only them: the heir goes on streaming from the primary, and we from the heir. Only where one
    acknowledgement is enough: the heir can give that one alone. And only behind a history that goes on with ours: an
    old primary that has just come back may be alive and have one of its own. The other way round, with a history that
    may have to be rewound, it is better to stay apart: the election would interrupt that and find no usable copy.
    """
    assert topology.primary is not None, "only an election is without a primary"
    if topology.phase is not Phase.STEADY or topology.acks_required > 1 or topology.joint:
        return None
    if not membership.suspected(view, topology.primary):
        return None
    heir = election.heir(view, topology)
    if heir in (None, view.me):
        return None
    return heir if _goes_on_with_ours(view, heir) else None


def _goes_on_with_ours(view: View, region: Region) -> bool:
    """Whether the region's history and ours end on one timeline: it had one writer, so they differ in length only.

    By its latest report: what it promised when this epoch began may be out of date.
    """
    report, ours = view.report(region), view.instance.wal if view.instance is not None else None
    return report is not None and report.wal is not None and ours is not None and report.wal.branch == ours.branch


def _holds_ours(view: View, region: Region) -> bool:
    """Whether nothing acknowledged can be lost by taking the region's history for ours.

    A history that ends in a later epoch, or on a later timeline, holds all that was acknowledged before it.
    """
    report, promise = view.report(region), view.promises.get(region)
    theirs = promise.wal if promise is not None else report.wal if report is not None else None
    ours = view.instance.wal if view.instance is not None else None
    return theirs is not None and ours is not None and theirs.branch >= ours.branch


def _electing(view: View, topology: Topology) -> Order:
    favourite = topology.favourite
    if favourite in (None, view.me):
        return Order(topology.epoch, Role.DETACHED)
    behind = view.instance is not None and view.instance.role is Role.STANDBY and view.instance.upstream == favourite
    promised = view.me in view.promises and old_primary_stopped(view, topology)
    if behind or (promised and _holds_ours(view, favourite)):
        return Order(topology.epoch, Role.STANDBY, upstream=favourite)
    return Order(topology.epoch, Role.DETACHED)


def synchronous(view: View, topology: Topology) -> Synchronous | None:
    """Return who must acknowledge: the stricter of the promise in force and the one asked for.

    None where no standby has to: in async, and with one data region.
    """
    rule = data_regions.rule(topology, view.me)
    if rule is None:
        return None
    if rule.mode is ReplicationMode.QUORUM:
        return Synchronous(SynchronousMethod.ANY, rule.required, rule.members)
    return Synchronous(SynchronousMethod.FIRST, rule.required, in_line(view, rule.members))


def in_line(view: View, others: tuple[Region, ...]) -> tuple[Region, ...]:
    """Return the standbys in the order they are asked for acknowledgements.

    As they stand now, but whoever is missing or slow goes to the end: a slow standby must not hold
    every commit while another could acknowledge it. Keeping the rest in place avoids flapping.
    """
    instance = view.instance
    current = others
    if instance is not None and instance.order is not None and instance.order.synchronous is not None:
        members = instance.order.synchronous.members
        current = tuple(r for r in members if r in others) + tuple(r for r in others if r not in members)
    if instance is None or not instance.senders:
        return current
    streaming = {sender.region for sender in instance.senders if sender.streaming}
    limit_s = SLOW_LEASES * view.timers.lease_s

    def slow(region: Region) -> bool:
        return region not in streaming or view.lags_s.get(region, 0.0) > limit_s

    if all(slow(region) for region in current):
        return current
    return tuple(sorted(current, key=slow))
