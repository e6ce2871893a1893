"""Decide whether a region is lost: its lease is over *and* a majority of vantages agree.

The lease alone makes a takeover safe. The vantages make it wanted: a region whose heartbeats stall
while every other region sees it serving is not dead, and moving its users would be the outage. A standby that still
receives WAL is a vantage on the database itself: it delays the verdict, for a bounded time, and never makes it safe.
"""

from dataclasses import dataclass

from leeward.core import lease, timers
from leeward.core.fast_frozen import fast_frozen
from leeward.core.values import Region, ReplicationMode
from leeward.core.view import View

# Silence of so many leases, with a probe that fails, is suspicious.
SUSPICION_LEASES = 0.4
# WAL that a standby received so many leases ago shows that its primary lives.
FRESH_LEASES = 0.5


@fast_frozen
@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the region is lost, why, and when time alone may change the answer."""

    lost: bool
    because: str
    retry_at_s: float | None = None


def judge(view: View, region: Region) -> Verdict:
    """Return whether ``region``, as the primary's, is lost, as far as this agent can tell now."""
    seen = view.seen.get(region)
    if seen is None:
        return Verdict(False, f"{region} has never been seen")
    lease_s = max(view.app.lease_s, lease.stated_s(seen.heartbeat, view.app.name))
    takeover_at_s = lease.takeover_at_s(seen.at_s, max(view.app.takeover_s, lease_s))
    if view.now_s < takeover_at_s:
        holds = view.now_s < lease.takeover_at_s(seen.at_s, lease_s)
        waited = f"{region} is silent, and the RTO leaves time to wait for it"
        return Verdict(False, f"{region} holds its lease" if holds else waited, takeover_at_s)
    silent_s = view.now_s - seen.at_s
    against = doubters(view, region)
    needed = len(view.regions) // 2 + 1
    if len(against) < needed:
        names = ", ".join(sorted(against)) or "no region"
        return Verdict(
            False,
            f"{region} has been silent for {silent_s:.1f} s, but only {names} cannot see it serving "
            f"({needed} of {len(view.regions)} regions must agree)",
        )
    arriving = {
        standby: at_s + FRESH_LEASES * view.timers.lease_s
        for standby, at_s in view.wal_arrived_at_s.items()
        if standby != region and view.alive(standby)
    }
    veto_until_s = takeover_at_s + _veto_s(view)
    fresh_until_s = max(arriving.values(), default=0.0)
    if view.now_s < min(veto_until_s, fresh_until_s):
        names = ", ".join(sorted(each for each, until_s in arriving.items() if view.now_s < until_s))
        return Verdict(
            False,
            f"{region} has been silent for {silent_s:.1f} s, but WAL from its primary still arrives in {names}",
            min(veto_until_s, fresh_until_s),
        )
    return Verdict(
        True,
        f"{region} was last heard {silent_s:.1f} s ago, its lease is over, and {', '.join(sorted(against))} "
        "cannot see it serving",
    )


def _veto_s(view: View) -> float:
    synchronous = view.topology is not None and view.topology.mode is not ReplicationMode.ASYNC
    return timers.veto_s(view.app.rto_s, view.timers.rtt_max_s, view.app.takeover_s, synchronous=synchronous)


def suspected(view: View, region: Region) -> bool:
    """Whether a region looks lost from here, long before that may be decided."""
    seen = view.seen.get(region)
    vantage = view.vantages.get(region)
    if seen is None or vantage is None or vantage.serving:
        return False
    return view.now_s - seen.at_s > SUSPICION_LEASES * view.timers.lease_s


def doubters(view: View, region: Region) -> frozenset[Region]:
    """Return the regions that, by their latest report, cannot see ``region`` serving."""
    against = set[Region]()
    for witness in view.regions:
        if witness == region or not view.alive(witness):
            continue
        if witness == view.me:
            vantage = view.vantages.get(region)
        else:
            vantage = view.seen[witness].heartbeat.vantages.get(region)
        if vantage is not None and not vantage.serving:
            against.add(witness)
    return frozenset(against)
