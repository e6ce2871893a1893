"""Summarise all runs of a drill against the objectives: the object a drill prints. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from leeward.core.codec import plain
from leeward.core.timers import Budget
from leeward.core.values import App, Region, ReplicationMode
from leeward.drill.measure import RunMeasure, Timeline

API_VERSION = "leeward.dev/v1alpha1"
READS_INTERRUPTED_MAX_S = 0.5
"""Leeward's own target: how long reads may fail at most through the gateways of surviving regions."""
SWITCHOVER_GAP_MAX_S = 0.7
"""Leeward's own target: the 99th percentile of the time without acknowledged writes in a planned switchover."""
EXIT_PASSED, EXIT_MISSED, EXIT_INCONCLUSIVE = 0, 1, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Over the runs, by the nearest rank; None when there is no such value, or it is "never"."""

    p50: float | None = None
    p99: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class Targets:
    """The application's objectives, in seconds."""

    rto_s: float
    rpo_s: float


@dataclass(frozen=True, slots=True)
class Objective:
    """One objective with what was measured; None: never, or not measured."""

    name: str
    target: float
    measured: float | None
    unit: str
    met: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a recovery: what the budget allows, and what the runs took at the median, in seconds."""

    name: str
    budget_s: float | None
    measured_s: float | None


@dataclass(frozen=True, slots=True)
class RunTimeline:
    """One run in the result's ``timeline``: seconds from the fault to each step."""

    run: int
    detected: float | None
    fenced: float | None
    elected: float | None
    elected_region: Region | None
    """The region that was elected primary, in the last election."""
    promoted: float | None
    routed: float | None
    first_write: float | None
    dns: float | None
    """The last surviving region removed the lost ones from DNS."""
    dns_by_region: Mapping[Region, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measured run and the rules it broke."""

    measured: RunMeasure
    broken: tuple[str, ...] = ()
    inconclusive: tuple[str, ...] = ()
    """Rules that were broken, but possibly because the machine was overloaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The whole drill, as it is printed: every key is always there. Counts are sums over the runs."""

    drill: str
    app: App
    region: Region
    replication: ReplicationMode
    runs: int
    """Runs that were measured."""
    inconclusive: tuple[str, ...]
    """Why other runs, or parts of them, are inconclusive."""
    rto_write_s: Percentiles
    rto_read_s: Percentiles
    dns_s: Percentiles
    """Until the last surviving region removed the lost ones from DNS; empty where no region was lost."""
    timeline: tuple[RunTimeline, ...]
    waterfall: tuple[Step, ...]
    acknowledged: int
    lost: int
    duplicated: int
    unknown_present: int
    unknown_absent: int
    orphaned: int
    rpo_s: float
    failed_requests: int
    attempts_not_acknowledged: int
    failovers: int
    switchover_gap_s: Percentiles
    switchover_failed_requests: int
    objectives: tuple[Objective, ...]
    """The application's: each must be met."""
    targets: tuple[Objective, ...]
    """Leeward's own: shown as met or missed; a drill passes without them."""
    broken: tuple[str, ...]
    """The rules that were broken, in sentences; empty if the drill passed."""
    passed: bool | None
    """None: inconclusive."""


def percentiles(values: Sequence[float | None]) -> Percentiles:
    """Return the nearest-rank percentiles; a None among the values is longer than any other."""
    if not values:
        return Percentiles()
    ordered = sorted(math.inf if value is None else value for value in values)

    def rank(percent: int) -> float | None:
        value = ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
        return None if value == math.inf else round(value, 3)

    return Percentiles(p50=rank(50), p99=rank(99), max=rank(100))


def summarise(
    *,
    drill: str,
    app: App,
    region: Region,
    replication: ReplicationMode,
    runs: Sequence[Run],
    inconclusive: Sequence[str],
    targets: Targets,
    budget: Budget | None,
    recovers: bool,
) -> Result:
    """Return the result. ``recovers``: the fault is one that writes must survive, so the RTO is judged."""
    measured = [run.measured for run in runs]
    broken = tuple(f"run {run.measured.number}: {sentence}" for run in runs for sentence in run.broken)
    doubtful = tuple(f"run {run.measured.number}: {sentence}" for run in runs for sentence in run.inconclusive)
    objectives = _objectives(measured, replication, targets, recovers=recovers) if measured else ()
    failed = bool(broken) or not all(objective.met for objective in objectives)
    return Result(
        drill=drill,
        app=app,
        region=region,
        replication=replication,
        runs=len(runs),
        inconclusive=(*inconclusive, *doubtful),
        rto_write_s=percentiles([run.rto_write_s for run in measured]),
        rto_read_s=percentiles([run.rto_read_s for run in measured]),
        dns_s=percentiles([run.timeline.dns for run in measured if run.timeline.dns_by_region]),
        timeline=tuple(_rounded(run.number, run.timeline) for run in measured),
        waterfall=waterfall([run.timeline for run in measured], budget),
        acknowledged=sum(run.acknowledged for run in measured),
        lost=sum(run.lost for run in measured),
        duplicated=sum(run.duplicated for run in measured),
        unknown_present=sum(run.unknown_present for run in measured),
        unknown_absent=sum(run.unknown_absent for run in measured),
        orphaned=sum(run.orphaned for run in measured),
        rpo_s=round(max((run.rpo_s for run in measured), default=0.0), 3),
        failed_requests=sum(run.failed_requests for run in measured),
        attempts_not_acknowledged=sum(run.attempts_not_acknowledged for run in measured),
        failovers=sum(run.failovers for run in measured),
        switchover_gap_s=percentiles([r.switchover_gap_s for r in measured if r.switchover_gap_s is not None]),
        switchover_failed_requests=sum(run.switchover_failed_requests or 0 for run in measured),
        objectives=objectives,
        targets=_targets(measured),
        broken=broken,
        passed=None if not measured or (doubtful and not failed) else not failed,
    )


def exit_status(result: Result) -> int:
    """Return 0 passed, 1 an objective missed or a rule broken, 4 inconclusive."""
    if result.passed is False:
        return EXIT_MISSED
    return EXIT_INCONCLUSIVE if result.passed is None or result.inconclusive else EXIT_PASSED


def document(result: Result) -> dict[str, object]:
    """Return the JSON object: versioned, every key present."""
    return {"apiVersion": API_VERSION, "kind": "DrillResult", **plain(result)}


def waterfall(timelines: Sequence[Timeline], budget: Budget | None) -> tuple[Step, ...]:
    """Return the steps of a recovery: the median time each took, with its budget."""

    def took(start: Callable[[Timeline], float | None], end: Callable[[Timeline], float | None]) -> float | None:
        pairs = [(start(timeline), end(timeline)) for timeline in timelines]
        # Gateways may be updated before the new primary has proved a write: such a step took no time of its own.
        took_s = [max(0.0, late - early) for early, late in pairs if early is not None and late is not None]
        return percentiles(took_s).p50

    allowed: tuple[float | None, ...] = (None,) * 4
    if budget is not None:
        allowed = (budget.detection_s, budget.election_s, budget.promote_s, budget.route_s)
    detect_s, elect_s, promote_s, route_s = allowed
    return (
        Step("detect", detect_s, took(lambda _: 0.0, lambda t: t.detected)),
        Step("elect", elect_s, took(lambda t: t.detected, lambda t: t.elected)),
        Step("promote", promote_s, took(lambda t: t.elected, lambda t: t.promoted)),
        Step("route", route_s, took(lambda t: t.promoted, lambda t: t.routed)),
        Step("first write", None, took(_primary_reachable_s, lambda t: t.first_write)),
    )


def _primary_reachable_s(timeline: Timeline) -> float | None:
    """Return when the new primary was promoted and reachable."""
    return max((at_s for at_s in (timeline.promoted, timeline.routed) if at_s is not None), default=None)


def _objectives(
    runs: Sequence[RunMeasure], mode: ReplicationMode, targets: Targets, *, recovers: bool
) -> tuple[Objective, ...]:
    lost = sum(run.lost for run in runs)
    duplicated = sum(run.duplicated for run in runs)
    found = [Objective("duplicated", 0, duplicated, "writes", duplicated == 0)]
    if recovers:
        writes, reads = percentiles([r.rto_write_s for r in runs]), percentiles([r.rto_read_s for r in runs])
        found = [
            Objective("rto-write", targets.rto_s, writes.max, "s", _within(writes.max, targets.rto_s)),
            Objective("rto-read", targets.rto_s, reads.max, "s", _within(reads.max, targets.rto_s)),
            *found,
        ]
    if mode is ReplicationMode.ASYNC:
        rpo_s = round(max(run.rpo_s for run in runs), 3)
        found.append(Objective("rpo", targets.rpo_s, rpo_s, "s", rpo_s <= targets.rpo_s))
    else:
        found.append(Objective("lost", 0, lost, "writes", lost == 0))
    return tuple(found)


def _targets(runs: Sequence[RunMeasure]) -> tuple[Objective, ...]:
    reads = percentiles([run.rto_read_s for run in runs if run.failovers])
    gaps = percentiles([run.switchover_gap_s for run in runs if run.switchover_gap_s is not None])
    found: list[Objective] = []
    if any(run.failovers for run in runs):
        met = _within(reads.max, READS_INTERRUPTED_MAX_S)
        found.append(Objective("reads-interrupted", READS_INTERRUPTED_MAX_S, reads.max, "s", met))
    if gaps.p99 is not None:
        met = _within(gaps.p99, SWITCHOVER_GAP_MAX_S)
        found.append(Objective("switchover-gap-p99", SWITCHOVER_GAP_MAX_S, gaps.p99, "s", met))
    return tuple(found)


def _within(value: float | None, target: float) -> bool:
    return value is not None and value <= target


def _rounded(number: int, timeline: Timeline) -> RunTimeline:
    def short(value: float | None) -> float | None:
        return None if value is None else round(value, 3)

    return RunTimeline(
        number,
        short(timeline.detected),
        short(timeline.fenced),
        short(timeline.elected),
        timeline.elected_region,
        short(timeline.promoted),
        short(timeline.routed),
        short(timeline.first_write),
        short(timeline.dns),
        {region: short(at_s) for region, at_s in timeline.dns_by_region.items()},
    )
