"""Decide whether a region is lost: its lease is over *and* a majority of vantages agree.

The lease alone makes a takeover safe. The vantages make it wanted: a region whose heartbeats stall
while everybody can see it serving is not dead, and moving its users would be the outage.
"""

from dataclasses import dataclass

from leeward.core import lease
from leeward.core.quick import quick
from leeward.core.values import Region
from leeward.core.view import View

# Silence of so many leases, with a probe that fails, is suspicious.
SUSPICION_LEASES = 0.4


@quick
@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the region is lost, why, and when time alone may change the answer."""

    lost: bool
    because: str
    retry_at_s: float | None = None


def judge(view: View, region: Region) -> Verdict:
    """Return whether ``region`` is lost, as far as this agent can tell now."""
    seen = view.seen.get(region)
    if seen is None:
        return Verdict(False, f"{region} has never been seen")
    takeover_at_s = lease.takeover_at_s(seen.at_s, view.timers)
    if view.now_s < takeover_at_s:
        return Verdict(False, f"{region} holds its lease", takeover_at_s)
    silent_s = view.now_s - seen.at_s
    against = doubters(view, region)
    needed = len(view.regions) // 2 + 1
    if len(against) < needed:
        names = ", ".join(sorted(against)) or "nobody"
        return Verdict(
            False,
            f"{region} has been silent for {silent_s:.1f} s, but only {names} cannot see it serving "
            f"({needed} of {len(view.regions)} regions must agree)",
        )
    return Verdict(
        True,
        f"{region} was last heard {silent_s:.1f} s ago, its lease is over, and {', '.join(sorted(against))} "
        "cannot see it serving",
    )


def suspected(view: View, region: Region) -> bool:
    """Whether a region looks lost from here, long before anybody may say so."""
    seen = view.seen.get(region)
    vantage = view.vantages.get(region)
    if seen is None or vantage is None or vantage.serving:
        return False
    return view.now_s - seen.at_s > SUSPICION_LEASES * view.timers.lease_s


def doubters(view: View, region: Region) -> frozenset[Region]:
    """Return the regions that, by their latest word, cannot see ``region`` serving."""
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
