"""Decide where a region's gateway sends requests, and which share of the users each region should get.

A region never loses its traffic for one bad probe, and gets it back only after a hold-down, then in a ramp;
when too few regions look healthy the view is suspect rather than the world, and no region is taken out (a panic
threshold, as in Envoy's load balancer).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from leeward.core.settings import Timers
from leeward.core.values import Phase, Region, Role, Topology
from leeward.core.view import View

# One lost probe may be a hiccup; two in a row count.
PROBES_TO_EJECT = 2
# Below this share of healthy regions, health is no longer trusted.
PANIC_SHARE = 0.34


@dataclass(frozen=True, slots=True)
class Health:
    """How a region has looked lately from here."""

    serving: bool
    since_s: float
    """Since when it has looked like this (the agent's clock)."""
    failures_in_a_row: int = 0
    known_before: bool = False
    """It was out before it served again: it comes back with a hold-down and a ramp."""


def observe(health: Health | None, serving: bool, now_s: float) -> Health:
    """Return the region's health after one more probe."""
    if health is None:
        return Health(serving, now_s, 0 if serving else 1)
    if serving:
        if health.serving:
            return health if health.failures_in_a_row == 0 else replace(health, failures_in_a_row=0)
        return Health(True, now_s, 0, known_before=True)
    failures = health.failures_in_a_row + 1
    if health.serving and failures < PROBES_TO_EJECT:
        return Health(True, health.since_s, failures, health.known_before)
    return Health(False, now_s if health.serving else health.since_s, failures, health.known_before)


def share(health: Health, now_s: float, timers: Timers) -> float:
    """Return which part of its full traffic a region should get, from 0 to 1."""
    if not health.serving:
        return 0.0
    if not health.known_before:
        return 1.0
    ramped_s = now_s - health.since_s - timers.hold_down_s
    return min(1.0, max(0.0, ramped_s / timers.ramp_s))


def shares(health: Mapping[Region, Health], now_s: float, timers: Timers) -> Mapping[Region, float]:
    """Return every region's share; when hardly any is healthy all get their full one: a panic."""
    found = {region: share(state, now_s, timers) for region, state in health.items()}
    serving = sum(state.serving for state in health.values())
    if health and serving / len(health) < PANIC_SHARE:
        return dict.fromkeys(found, 1.0)
    return found


def primary_route(view: View) -> Region | None:
    """Return the region that gets writes from here; None while no region can."""
    topology = view.topology
    if topology is None or topology.phase is Phase.ELECTING or topology.primary is None:
        return None
    if topology.primary != view.me:
        return topology.primary
    return view.me if view.may_write and _promoted(view, topology) else None


def _promoted(view: View, topology: Topology) -> bool:
    instance = view.instance
    return instance is not None and instance.role is Role.PRIMARY and instance.epoch == topology.epoch


def fallbacks(view: View, nearest_first: tuple[Region, ...], health: Mapping[Region, Health]) -> tuple[Region, ...]:
    """Return the other regions fit to serve this region's users, nearest first.

    One without a ready pod has no capacity at all, whatever its agent answers; what is sent there is refused. One whose
    gateway does not answer its own users, and one that the others no longer hear, is left out while there is another,
    also when no probe of ours is believed.
    """
    topology = view.topology
    if topology is None:
        return ()
    found = shares(health, view.now_s, view.timers)
    fit = [region for region in nearest_first if region in topology.data_regions and found.get(region, 0.0) > 0.0]
    able = [region for region in fit if has_pods(view, region)] or fit
    able = [region for region in able if view.gateway_problem(region) is None] or able
    return tuple(region for region in able if view.alive(region)) or tuple(able)


def stand_in(view: View, fit: tuple[Region, ...]) -> Region | None:
    """Return the region whose pods take this region's writes while none is ready beside the primary.

    None: pods are ready there, or nowhere. They reach the primary over the WAN: slower than beside it, and no reason
    to move a healthy database. ``fit`` are the other regions fit to serve, nearest first.
    """
    primary = primary_route(view)
    if primary is None or (view.pods_ready > 0 if primary == view.me else has_pods(view, primary)):
        return None
    if view.pods_ready > 0:
        return view.me
    return next((region for region in fit if region != primary and has_pods(view, region)), None)


def has_pods(view: View, region: Region) -> bool:
    """Whether the region's service can answer, by its latest report: it has a ready pod."""
    report = view.report(region)
    return report is None or report.pods_ready > 0
