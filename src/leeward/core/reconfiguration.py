"""Decide the steps by which data regions join and leave, one at a time.

The primary's agent drives, and only while the topology is steady, that is after the record of the primary's own epoch
was acknowledged. *Join*: the region is a learner first, which copies and streams and is counted nowhere. *Joint*:
once it has caught up, commits keep the rule of the set in force and that of the next one (``data_regions.rule``).
*In force*: once PostgreSQL obeys both, and the next set holds all WAL up to that moment by its own rule, it replaces
the old one by compare-and-swap. *Leave* is the same without a learner.

Always true: elections go by the set in force, and every acknowledged write is within their reach. Whoever prepares an
election rolls the change back in the same transaction. Decision 18 has the proof.
Not here: what a learner does (``replication``) and what is read from files (``agent.machine.declaration``).
"""

from dataclasses import replace

from leeward.core import data_regions, switchover
from leeward.core.actions import Decision, Note, Propose
from leeward.core.values import Region, Role, Topology
from leeward.core.view import View

JOINING, JOINED = "DataRegionJoining", "DataRegionJoined"
LEAVING, LEFT = "DataRegionLeaving", "DataRegionLeft"
CALLED_OFF = "DataRegionChangeCalledOff"
REORDERED = "DataRegionsReordered"

# A standby further behind than this has not caught up: in leases, and in bytes.
CAUGHT_UP_LEASES = 0.5
CAUGHT_UP_BYTES = switchover.LAG_MAX_BYTES
# How long commits may have to keep both rules before the change is rolled back, for lack of standbys.
JOINT_LEASES = 2
# How long the primary stays before it is moved out of a region that is to leave: longer than a switchover may take.
MOVE_OUT_LEASES = 6


def advance(view: View, topology: Topology) -> Decision | None:
    """Return the primary's next step in a change of data regions; None when there is none to make."""
    declared, changing = view.declared, topology.joining or topology.leaving
    if declared is not None and changing is not None and (changing in declared) != (changing == topology.joining):
        return _call_off(view, topology, f"the regions' files {'name it again' if topology.leaving else 'omit it'}")
    if topology.joint:
        return _finish(view, topology)
    if topology.joining is not None:
        return _count(view, topology, topology.joining)
    return None if declared is None else _begin(view, topology, declared)


def _begin(view: View, topology: Topology, declared: tuple[Region, ...]) -> Decision | None:
    added = [region for region in declared if region not in topology.data_regions]
    removed = [region for region in topology.data_regions if region not in declared]
    if not added and not removed:
        return None if declared == topology.data_regions else _reorder(view, topology, declared)
    heard = [region for region in added if view.alive(region) and view.report(region) is not None]
    if heard:
        because = f"{heard[0]} becomes a data region: it copies and streams, and does not count yet"
        return _propose(view, replace(topology, joining=heard[0], because=because), JOINING, because)
    gone = next((region for region in removed if region != topology.primary), None)
    if gone is not None:
        return _leave(view, topology, gone)
    if removed:
        return _move_out(view, topology, declared)
    return Decision(f"waiting for {', '.join(added)} to run an instance before it becomes a data region")


def _reorder(view: View, topology: Topology, declared: tuple[Region, ...]) -> Decision:
    because = f"the data regions are now preferred in this order: {', '.join(declared)}"
    return _propose(view, replace(topology, data_regions=declared), REORDERED, because)


def _leave(view: View, topology: Topology, region: Region) -> Decision:
    leaving = replace(topology, leaving=region, joint=True)
    lacking = _lacking(view, leaving)
    if lacking is not None:
        return Decision(f"{region} is to leave; waiting: {lacking}")
    because = f"{region} leaves: commits keep the rule with and without it until the others hold all of it"
    return _propose(view, replace(leaving, because=because), LEAVING, because)


def _move_out(view: View, topology: Topology, declared: tuple[Region, ...]) -> Decision:
    """The primary's region is to leave: move the primary first, without loss."""
    if topology.paused:
        return Decision(f"{view.me} is to leave and is the primary: automatic failover is paused, so it stays")
    at_s = view.topology_seen_at_s + MOVE_OUT_LEASES * view.timers.lease_s
    if view.now_s < at_s:
        return Decision(f"{view.me} is to leave and is the primary: it will be moved out soon", retry_at_s=at_s)
    refused = ""
    for region in declared:
        why = switchover.preflight(view, topology, region)
        if why is None:
            because = f"{view.me} is to leave, so the primary moves to {region} first"
            return Decision(because, (switchover.start(view, topology, region, None, because),))
        refused = refused or why
    return Decision(f"{view.me} is to leave and is the primary, and cannot be moved out: {refused}")


def _count(view: View, topology: Topology, region: Region) -> Decision:
    """Count the learner once it has caught up."""
    if not view.alive(region):
        return _call_off(view, topology, f"no heartbeat from {region} for longer than a lease")
    if not _caught_up(view, region):
        return Decision(f"{region} is joining: {progress(view, topology, region)}")
    joint = replace(topology, joint=True)
    lacking = _lacking(view, joint)
    if lacking is not None:
        return Decision(f"{region} has caught up, but does not count yet: {lacking}")
    because = f"{region} has caught up: commits keep the rule with and without it"
    return Decision(because, (Propose(replace(joint, because=because), view.topology_revision, ()),))


def _finish(view: View, topology: Topology) -> Decision:
    """Put the next set in force once it holds what was acknowledged before."""
    until_s = view.topology_seen_at_s + JOINT_LEASES * view.timers.lease_s
    if view.now_s >= until_s:
        return _call_off(view, topology, "too few standbys acknowledge by both rules")
    instance = view.instance
    if instance is None or instance.wal is None or not _obeys(view, topology):
        return Decision("PostgreSQL is being configured to keep the rule of both sets", retry_at_s=until_s)
    if topology.joint_lsn is None:
        because = f"commits keep the rule of both sets from LSN {instance.wal.lsn:X} on"
        marked = replace(topology, joint_lsn=instance.wal.lsn)
        return Decision(because, (Propose(marked, view.topology_revision, ()),))
    following = data_regions.next_set(topology)
    required = data_regions.acks_required(data_regions.strictest(topology), len(following))
    held = {s.region for s in instance.senders if s.streaming and s.flushed_lsn >= topology.joint_lsn}
    holders = [region for region in following if region in held]
    if len(holders) < required or topology.joining not in (None, *holders):
        return Decision(f"waiting for {required} standbys of the next set to hold its beginning", retry_at_s=until_s)
    return _in_force(view, topology, following)


def _in_force(view: View, topology: Topology, following: tuple[Region, ...]) -> Decision:
    preferred = view.declared or ()
    order = {region: place for place, region in enumerate(preferred)}
    settled = replace(
        topology,
        data_regions=tuple(sorted(following, key=lambda region: order.get(region, len(order)))),
        acks_required=data_regions.acks_required(topology.mode, len(following)),
        joining=None,
        leaving=None,
        joint=False,
        joint_lsn=None,
    )
    promised = f"a write is on {settled.acks_required + 1} of {len(following)} replicas before it is acknowledged"
    if topology.joining is not None:
        kind, because = JOINED, f"{topology.joining} is a data region; {promised}"
    else:
        kind, because = LEFT, f"{topology.leaving} is no longer a data region; {promised}"
    return _propose(view, replace(settled, because=because), kind, because)


def _call_off(view: View, topology: Topology, why: str) -> Decision:
    """Go back to the set in force; a learner that has to wait for standbys only remains one."""
    region = topology.joining or topology.leaving
    because = f"the change of data regions ({region}) is cancelled: {why}"
    back = replace(data_regions.rolled_back(topology), because=because)
    if not topology.joint:
        back = replace(back, joining=None)
    return _propose(view, back, CALLED_OFF, because)


def _propose(view: View, topology: Topology, kind: str, because: str) -> Decision:
    return Decision(because, (Propose(topology, view.topology_revision, (Note(kind, because),)),))


def _obeys(view: View, topology: Topology) -> bool:
    """Whether this region's PostgreSQL keeps both rules, as reported by its instance manager."""
    instance, rule = view.instance, data_regions.rule(topology, view.me)
    if instance is None or instance.order is None or not instance.settled or not instance.writable:
        return False
    if not instance.order.asks_for(topology.epoch, Role.PRIMARY):
        return False
    asked = instance.order.synchronous
    if rule is None or asked is None:
        return rule is None and asked is None
    return asked.required == rule.required and set(asked.members) == set(rule.members)


def _lacking(view: View, joint: Topology) -> str | None:
    """Return which standbys are missing to keep both rules now; None when no commit would wait for longer than today.

    Commits may wait already, for a region that is lost: its removal is then what lets them go on.
    """
    rule = data_regions.rule(joint, view.me)
    if rule is None:
        return None
    following = tuple(region for region in data_regions.next_set(joint) if region != view.me)
    present = data_regions.rule(replace(joint, joint=False), view.me)
    needed = data_regions.acks_required(rule.mode, len(following) + 1)
    for required, members in ((0 if rule == present else rule.required, rule.members), (needed, following)):
        if sum(_caught_up(view, region) for region in members) < required:
            return f"{required} of {', '.join(members)} must stream and have caught up"
    return None


def _caught_up(view: View, region: Region) -> bool:
    instance = view.instance
    if instance is None or instance.wal is None or not view.alive(region):
        return False
    sender = next((s for s in instance.senders if s.region == region and s.streaming), None)
    if sender is None or instance.wal.lsn - sender.flushed_lsn > CAUGHT_UP_BYTES:
        return False
    return view.lags_s.get(region, 0.0) <= CAUGHT_UP_LEASES * view.timers.lease_s


def progress(view: View, topology: Topology, region: Region) -> str:
    """Return a joining region's progress in words, from the primary's report and its own."""
    if topology.joint:
        return "it has caught up, and commits keep the rule with and without it"
    if topology.primary == view.me:
        wal = view.instance.wal if view.instance is not None else None
        senders = view.instance.senders if view.instance is not None else ()
    else:
        primary = view.report(topology.primary) if topology.primary is not None else None
        wal, senders = (primary.wal, primary.senders) if primary is not None else (None, ())
    sender = next((s for s in senders if s.region == region and s.streaming), None)
    if sender is not None and wal is not None:
        return f"it streams and is {max(0, wal.lsn - sender.flushed_lsn)} bytes behind"
    report = view.report(region)
    return report.problem if report is not None and report.problem else "it does not stream yet"
