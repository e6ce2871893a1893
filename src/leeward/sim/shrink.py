"""Make a failing plan smaller: fewer faults, fewer regions, the same broken promise."""

from collections.abc import Callable
from dataclasses import replace

from leeward.core.values import Region
from leeward.sim.faults import Fault, TriggeredFault
from leeward.sim.fleet import Fleet
from leeward.sim.plan import Plan

ATTEMPTS = 300


def shrink(plan: Plan, fails: Callable[[Plan], bool], *, attempts: int = ATTEMPTS) -> Plan:
    """Return the smallest plan found that still fails; ``fails`` runs one. Takes at most ``attempts`` runs."""
    left = attempts
    found = True
    while found:
        found = False
        for smaller in _smaller(plan):
            if left == 0:
                return plan
            left -= 1
            if fails(smaller):
                plan, found = smaller, True
                break
    return plan


def _smaller(plan: Plan) -> list[Plan]:
    """Return smaller plans, the boldest first."""
    candidates = [replace(plan, beside=None)] if plan.beside is not None else []
    size = len(plan.faults)
    pieces = size
    while pieces >= 1:
        candidates += [
            replace(plan, faults=plan.faults[:start] + plan.faults[start + pieces :])
            for start in range(0, size, pieces)
        ]
        pieces //= 2
    candidates += [
        replace(plan, triggered=plan.triggered[:index] + plan.triggered[index + 1 :])
        for index in range(len(plan.triggered))
    ]
    if plan.loss or plan.jitter or plan.duplication:
        candidates.append(replace(plan, loss=0.0, jitter=0.0, duplication=0.0))
    return candidates + _fewer_regions(plan)


def _fewer_regions(plan: Plan) -> list[Plan]:
    fleet = plan.fleet
    if len(fleet.regions) <= 2:
        return []
    plans = list[Plan]()
    for gone in fleet.regions[1:]:
        smaller = _without(fleet, gone)
        if len(smaller.data_regions) < 2:
            continue

        def stays(fault: Fault | TriggeredFault, gone: str = gone) -> bool:
            inner = fault.fault if isinstance(fault, TriggeredFault) else fault
            return gone not in (inner.where, inner.other)

        plans.append(
            replace(
                plan,
                fleet=smaller,
                beside=_without(plan.beside, gone) if plan.beside is not None else None,
                faults=tuple(filter(stays, plan.faults)),
                triggered=tuple(filter(stays, plan.triggered)),
            )
        )
    return plans


def _without(fleet: Fleet, gone: Region) -> Fleet:
    return replace(
        fleet,
        regions=tuple(region for region in fleet.regions if region != gone),
        witnesses=fleet.witnesses - {gone},
        spares=fleet.spares - {gone},
        rtt_s={pair: rtt_s for pair, rtt_s in fleet.rtt_s.items() if gone not in pair},
    )
