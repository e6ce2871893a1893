"""Predict what incidents would cost one application, on its own fleet, from thousands of simulated ones.

A run is one incident, drawn from a seed: what happens, where, when, for how long; or with ``hours`` a long
time with an incident every so often. Runs are independent, so they spread over processes.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from leeward.core.values import App, Region, ReplicationMode
from leeward.sim import checkers
from leeward.sim.clients import Acknowledged
from leeward.sim.faults import Fault, Kind
from leeward.sim.fleet import DRIFT_MAX, Fleet
from leeward.sim.plan import FOUND_S, Plan
from leeward.sim.simulation import Simulation
from leeward.sim.story import sentences
from leeward.sim.swarm import live_through
from leeward.spec.application import Application
from leeward.spec.spec import Spec

INCIDENTS = (
    Kind.REGION_LOSS,
    Kind.REGION_FREEZE,
    Kind.ISOLATION,
    Kind.PARTITION,
    Kind.ONE_WAY,
    Kind.BLIP,
    Kind.SLOW_LINK,
    Kind.AGENT_KILL,
    Kind.INSTANCE_KILL,
    Kind.DATABASE_CRASH,
    Kind.MEMBER_KILL,
)
"""What happens when the user names nothing."""
INCIDENT_EVERY_S = 600.0
LASTING_S = (0.5, 1.0, 3.0, 10.0, 30.0)
AFTERMATH_S = 20.0


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of one run."""

    fleet: Fleet
    kinds: tuple[Kind, ...]
    hours: float | None
    seed: int


@dataclass(frozen=True, slots=True)
class Run:
    """What one run showed. Times in seconds."""

    seed: int
    rto_s: float
    """The longest time without any acknowledged write while users tried."""
    rpo_s: float
    """How much time's worth of acknowledged writes one failover lost, at worst."""
    lost: int
    acknowledged: int
    unavailable_s: float
    """Together, what the gaps took beyond the users' usual pace."""
    observed_s: float
    skipped_s: float
    """How much of that was left out, because nothing could have happened in it."""
    failovers: int
    needless: int
    """How many of them the deposed primary's return showed to be needless."""
    violation: str | None
    incidents: tuple[str, ...]


def fleet_of(spec: Spec, application: Application, mode: ReplicationMode | None = None) -> Fleet:
    """Return what the user's files mean for the simulator."""
    wanted = application.spec
    placed = spec.placement(application)
    names = [*placed, *(region.name for region in spec.regions if region.name not in placed)]
    return Fleet(
        regions=tuple(map(Region, names)),
        witnesses=frozenset(Region(name) for name in names if name not in placed),
        rtt_s={
            frozenset((Region(one), Region(other))): spec.rtt_s(one, other)
            for index, one in enumerate(names)
            for other in names[index + 1 :]
        },
        app=App(application.metadata.name),
        mode=mode or wanted.database.replication,
        rto_s=wanted.objectives.rto_s,
        rpo_s=wanted.objectives.rpo_s,
        failover=wanted.failover,
        freezes=spec.freezes,
        dns_ttl_s=wanted.traffic.dns_ttl_s or 0.0,
    )


def plan_of(question: Question) -> Plan:
    """Return the world and the weather of one run."""
    chance = Random(question.seed)
    fleet = question.fleet
    if question.hours is None:
        injection_s = AFTERMATH_S
        times_s = [FOUND_S + chance.uniform(2.0, 5.0)]
    else:
        injection_s = question.hours * 3600
        times_s, at_s = [], FOUND_S
        while (at_s := at_s + chance.expovariate(1 / INCIDENT_EVERY_S)) < FOUND_S + injection_s:
            times_s.append(at_s)
    return Plan(
        seed=question.seed,
        fleet=fleet,
        faults=tuple(_incident(chance, question, at_s) for at_s in times_s),
        triggered=(),
        injection_s=injection_s,
        jitter=chance.choice((0.0, 0.1, 0.3)),
        write_every_s=0.1 if question.hours is None else 1.0,
        skips_quiet=question.hours is not None,
    )


def _incident(chance: Random, question: Question, at_s: float) -> Fault:
    regions = question.fleet.regions
    # Half of all incidents hit where it hurts: the region that the primary starts in.
    where = regions[0] if chance.random() < 0.5 else chance.choice(regions)
    other = chance.choice([region for region in regions if region != where])
    kind = chance.choice(question.kinds)
    for_s = chance.choice(LASTING_S) * chance.uniform(0.5, 1.5)
    match kind:
        case Kind.PARTITION | Kind.ONE_WAY:
            return Fault(at_s, kind, where, chance.choice((None, other)), for_s)
        case Kind.BLIP:
            return Fault(at_s, kind, where, None, chance.uniform(0.1, 1.0))
        case Kind.REGION_FREEZE if question.fleet.freezes:
            freezes = question.fleet.freezes
            (freeze,) = chance.choices(freezes, [each.per_year for each in freezes])
            return Fault(at_s, kind, where, None, freeze.lasting_s)
        case Kind.SLOW_LINK:
            return Fault(at_s, kind, where, None, for_s, chance.choice((0.1, 0.3, 1.0)))
        case Kind.SLOW_DISK:
            return Fault(at_s, kind, where, None, for_s, chance.choice((0.05, 0.3)))
        case Kind.SWITCHOVER | Kind.FAILOVER:
            return Fault(at_s, kind, regions[0], chance.choice(question.fleet.data_regions[1:]))
        case Kind.CLOCK_DRIFT:
            return Fault(at_s, kind, where, amount=chance.choice((-DRIFT_MAX, DRIFT_MAX)))
        case Kind.CLOCK_JUMP:
            return Fault(at_s, kind, where, amount=chance.choice((-3600.0, 3600.0)))
        case Kind.MODE:
            return Fault(at_s, kind, regions[0], amount=chance.randrange(len(ReplicationMode)))
        case Kind.DATABASE_CRASH | Kind.LEADER_MOVE | Kind.COMPACTION:
            return Fault(at_s, kind, where)
        case _:
            return Fault(at_s, kind, where, None, for_s)


def answer(question: Question) -> Run:
    """Simulate one run. Deterministic: the same question has the same answer."""
    plan = plan_of(question)
    seen = live_through(plan)
    outcome, simulation = seen.outcome, seen.simulation
    times_s = sorted(found.committed_at_s for found in simulation.acknowledgements)
    until_s = min(seen.healed_at_s + AFTERMATH_S, simulation.schedule.now_s)
    observed = [at_s for at_s in times_s if FOUND_S <= at_s <= until_s]
    gaps_s = [later - earlier for earlier, later in pairwise(observed)]
    usual_s = 2 * plan.write_every_s
    missing = list[Acknowledged]()
    if outcome.violation is None:
        primary = checkers.topology(simulation.sites, question.fleet.app).primary
        assert primary is not None, "converged"
        missing = checkers.lost(simulation.sites, question.fleet.app, primary, simulation.ledger)
    return Run(
        seed=question.seed,
        rto_s=max(gaps_s, default=math.inf),
        rpo_s=max((span_s for span_s in _spans_s(missing)), default=0.0),
        lost=len(missing),
        acknowledged=len(simulation.ledger.acknowledged),
        unavailable_s=sum(gap_s - usual_s for gap_s in gaps_s if gap_s > usual_s),
        observed_s=until_s + simulation.skipped_s - FOUND_S,
        skipped_s=simulation.skipped_s,
        failovers=outcome.failovers,
        needless=_needless(simulation),
        violation=outcome.violation,
        incidents=tuple(str(fault) for fault in plan.faults),
    )


def _needless(simulation: Simulation) -> int:
    machines = (site.machine for site in simulation.sites.values() if site.machine is not None)
    tallies = [machine.store.tallies.get(simulation.fleet.app) for machine in machines]
    return max((found[0].needless for found in tallies if found is not None), default=0)


def _spans_s(missing: Iterable[Acknowledged]) -> list[float]:
    by_epoch: dict[int, list[float]] = {}
    for found in missing:
        by_epoch.setdefault(found.epoch, []).append(found.committed_at_s)
    return [max(times_s) - min(times_s) for times_s in by_epoch.values()]


def story(question: Question) -> list[str]:
    """Return what happened in a run, in sentences, with the seconds since the first incident began."""
    plan, lines = plan_of(question), list[str]()
    live_through(plan, trace=lines.append)
    begins_s = plan.faults[0].at_s if plan.faults else FOUND_S
    width = max(len(region) for region in question.fleet.regions)
    described = list[str]()
    for line in sentences(lines):
        at, who, what = re.split(r"\s{2,}|(?<= s)\s", line, maxsplit=2)
        since_s = round(float(at.removesuffix(" s")) - begins_s, 2)
        if since_s >= 0:
            described.append(f"{since_s + 0.0:+8.2f}  {'' if who == '*' else who:<{width}}  {what}")
    return described


def capacity(spec: Spec, application: Application) -> list[str]:
    """Return, for each region that may be lost, whether the nearest other one can take its users, in sentences.

    What a region's users need is read from the file: the fewest pods it runs, as busy as autoscaling aims at.
    """
    service, placed = application.spec.service, spec.placement(application)
    scaling = service.autoscaling
    if scaling is None:
        return [
            f"unknown: each region runs {service.replicas} pods, and without autoscaling nothing says how busy they are"
        ]
    usual_pods = scaling.min * scaling.cpu / 100
    described = list[str]()
    for lost in placed:
        others = sorted((name for name in placed if name != lost), key=lambda name: spec.rtt_s(lost, name))
        if not others:
            continue
        to, needed_pods = others[0], 2 * usual_pods
        found = f"with {lost} lost its users go to {to}: {needed_pods:.1f} pods' work, {scaling.min} run"
        if needed_pods > scaling.max:
            described.append(f"{found}, and autoscaling ends at {scaling.max}: OVERLOADED")
        elif needed_pods > scaling.min:
            described.append(f"{found}, autoscaling may add {scaling.max - scaling.min}")
        else:
            described.append(f"{found}, enough")
    return described
