"""Which regions are fit to get users, as one agent knows it.

Always true: a region is out as soon as this agent knows that a majority cannot see it serving, that it has no
ready pod, that its gateway does not answer users, or, for its own region, that it has no lease. It comes back after a
hold-down, in a ramp.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from leeward.core import membership, routing
from leeward.core.settings import Timers
from leeward.core.values import Region
from leeward.core.view import View


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether one region is fit to get an application's users, since when, and why."""

    fit: bool
    since_s: float
    """Since when it has been like this (the agent's clock)."""
    because: str
    returning: bool = False
    """It was fit before it was not: it comes back with a hold-down and a ramp."""


def judge(view: View, region: Region) -> tuple[bool, str]:
    """Return whether a region is fit now, and why."""
    lost = _lost(view, region)
    if lost is not None:
        return False, lost
    if not (view.pods_ready > 0 if region == view.me else routing.has_pods(view, region)):
        return False, f"no pod of {view.app.name} is ready in {region}"
    problem = view.gateway_problem(region)
    if problem is not None:
        return False, f"the gateway of {region} does not answer users: {problem}"
    return True, f"{region} serves"


def _lost(view: View, region: Region) -> str | None:
    if region == view.me:
        return None if view.leased else f"{region} has no lease: it cannot reach the quorum"
    if region not in view.seen or region not in view.vantages:
        # Nothing is known: if it counted as fit, its first report would look like a loss.
        return f"{view.me} has not seen {region} yet"
    if not view.leased:
        # Isolated from the others' reports, its own observation is all it has.
        vantage = view.vantages[region]
        return None if vantage.serving else vantage.because
    against = membership.doubters(view, region)
    needed = len(view.regions) // 2 + 1
    return f"{', '.join(sorted(against))} cannot see {region} serving" if len(against) >= needed else None


def follow(before: Standing | None, fit: bool, because: str, now_s: float) -> Standing:
    """Return a region's standing after one more look."""
    if before is None:
        return Standing(fit, now_s, because)
    if fit == before.fit:
        return Standing(fit, before.since_s, because, before.returning)
    return Standing(fit, now_s, because, returning=before.fit or before.returning)


def shares(standings: Mapping[Region, Standing], now_s: float, timers: Timers) -> Mapping[Region, float]:
    """Return which part of its users each region should get, from 0 to 1: all get 0 only when none is fit.

    When all that are fit are on their way back together, none has to wait for another.
    """
    found = {region: _share(standing, now_s, timers) for region, standing in standings.items()}
    most = max(found.values(), default=0.0)
    if most == 0.0:
        return {region: float(standing.fit) for region, standing in standings.items()}
    return {region: share / most for region, share in found.items()}


def ramps(standing: Standing, now_s: float, timers: Timers) -> bool:
    """Whether time alone changes the region's share: it is held down, or on its way to its full share."""
    return standing.fit and _share(standing, now_s, timers) < 1.0


def _share(standing: Standing, now_s: float, timers: Timers) -> float:
    return routing.share(routing.Health(standing.fit, standing.since_s, 0, standing.returning), now_s, timers)
