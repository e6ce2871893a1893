"""Predictions: spread simulated runs over processes, gather, judge against the objectives."""

import math
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from pathlib import Path

from leeward.core import timers
from leeward.core.delays import fails_over, needless_per_year
from leeward.core.values import ReplicationMode
from leeward.operate.outcome import InterruptedByUserError, OperationError, Progress
from leeward.operate.problems import which_application
from leeward.sim.faults import Kind
from leeward.sim.fleet import Fleet
from leeward.sim.predict import INCIDENTS, Question, Run, answer, capacity, fleet_of, story
from leeward.spec import Problem, load
from leeward.spec.application import Application
from leeward.spec.spec import Spec

PROGRESS_EVERY_S = 2.0
WORST = 3
CHUNK = 4
FREEZES_S = (2.0, 5.0, 8.0, 20.0, 30.0)
"""Typical lengths of freezes: used where the fleet's file gives none."""


@dataclass(frozen=True, slots=True)
class SimulationRequest:
    """What to simulate."""

    directory: Path
    app: str | None
    runs: int
    hours: float | None
    faults: tuple[str, ...]
    mode: ReplicationMode | None
    seed: int | None
    jobs: int | None


@dataclass(frozen=True, slots=True)
class Percentiles:
    """A distribution in seconds, by nearest rank."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Freeze:
    """A freeze of the primary's region, and what it causes."""

    lasting_s: float
    per_year: float | None
    """None: a typical length, not one of the fleet's file."""
    fails_over: bool


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a silent primary is tolerated, and what that costs."""

    lease_s: float
    waits_s: float
    freezes: tuple[Freeze, ...]
    needless_per_year: float | None
    """None: the fleet's file names no freezes."""


@dataclass(frozen=True, slots=True)
class Met:
    """Which objectives were met by every run."""

    rto: bool
    rpo: bool
    safety: bool


@dataclass(frozen=True, slots=True)
class Objectives:
    """What the application's file asks for, and whether it was met."""

    rto_s: float
    rpo_s: float
    """0 where acknowledged writes are on several regions."""
    met: Met


@dataclass(frozen=True, slots=True)
class Violation:
    """A run that broke a promise."""

    seed: int
    because: str


@dataclass(frozen=True, slots=True)
class WorstRun:
    """One of the runs with the longest time without a write, or with a violation."""

    seed: int
    rto_s: float
    lost: int
    incidents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What incidents would cost."""

    application: str
    replication: ReplicationMode
    runs: int
    seeds: tuple[int, int]
    """The first and the last one."""
    rto_write_s: Percentiles
    rto_failover_s: Percentiles | None
    """The same, in runs with a failover; None: no run has one."""
    rpo_s: Percentiles
    acknowledged: int
    lost: int
    failovers: int
    needless_failovers: int
    patience: Patience
    availability: float
    """Per cent of the time in which writes were accepted."""
    objectives: Objectives
    violations: tuple[Violation, ...]
    worst: tuple[WorstRun, ...]
    story: tuple[str, ...]
    """The timeline of the worst run."""
    virtual_s: float
    """The part of ``represented_s`` that was simulated; the rest was quiet and was skipped."""
    represented_s: float
    took_s: float
    passed: bool
    hours: float | None
    """Length of each run; None: one incident each."""
    capacity: tuple[str, ...]
    """Sentences about regions that could not carry what they would have to."""


def faults() -> list[tuple[Kind, bool]]:
    """Return every fault, and whether it is simulated when none is named."""
    return [(kind, kind in INCIDENTS) for kind in Kind]


def predict(request: SimulationRequest, progress: Progress) -> Prediction:
    """Run the simulation. Raises OperationError, ProblemsError; InterruptedByUserError after Ctrl-C or SIGTERM."""
    spec = load(request.directory)
    application = _application(spec, request)
    fleet = fleet_of(spec, application, request.mode)
    kinds = _kinds(request.faults)
    seeds = range(1, request.runs + 1) if request.seed is None else (request.seed,)
    questions = [Question(fleet, kinds, request.hours, seed) for seed in seeds]
    began_s = time.monotonic()
    runs = list(_answers(progress, questions, request.jobs))
    took_s = time.monotonic() - began_s
    worst = sorted(runs, key=lambda run: (run.violation is None, -run.rto_s, run.seed))[:WORST]
    timeline = story(Question(fleet, kinds, request.hours, worst[0].seed))
    found = _judged(fleet, runs, worst, took_s)
    return replace(found, story=tuple(timeline), hours=request.hours, capacity=tuple(capacity(spec, application)))


def _application(spec: Spec, request: SimulationRequest) -> Application:
    named = {each.metadata.name: each for each in spec.applications}
    if request.app is None and len(named) == 1:
        return next(iter(named.values()))
    if request.app in named:
        return named[request.app]
    why = "one application is simulated at a time"
    raise which_application(request.app, named, where=str(request.directory), why=why, usage="leeward simulate ")


def _kinds(wanted: Sequence[str]) -> tuple[Kind, ...]:
    unknown = [name for name in wanted if name not in tuple(Kind)]
    if unknown:
        raise OperationError(
            Problem(
                code="unknown-fault",
                where="--fault",
                what=f"unknown fault {', '.join(unknown)}",
                why="faults are selected by name",
                fix="leeward simulate -f DIR --fault list",
            )
        )
    return tuple(map(Kind, wanted)) or INCIDENTS


def _answers(progress: Progress, questions: Sequence[Question], jobs: int | None) -> Iterator[Run]:
    """Yield every run in the order of the seeds, and report progress.

    Raises InterruptedByUserError after Ctrl-C or SIGTERM; no process is left then.
    """
    processes = min(jobs or len(os.sched_getaffinity(0)), len(questions))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    done = 0
    try:
        with _computing(questions, processes) as found:
            reported_s = first_s = time.monotonic()
            for done, run in enumerate(found, start=1):
                now_s = time.monotonic()
                if done == 1:
                    first_s = now_s
                elif now_s - reported_s >= PROGRESS_EVERY_S and done < len(questions):
                    reported_s = now_s
                    left_s = (now_s - first_s) / (done - 1) * (len(questions) - done)
                    progress.progress(f"{done} of {len(questions)} runs, about {left_s:.0f} s to go")
                yield run
    except KeyboardInterrupt:
        progress.note(f"stopped after {done} of {len(questions)} runs")
        raise InterruptedByUserError from None


@contextmanager
def _computing(questions: Sequence[Question], processes: int) -> Iterator[Iterator[Run]]:
    """Yield the answers in order, computed by this many processes; they end with the context."""
    if processes == 1:
        yield map(answer, questions)
        return
    # Starting it unblocks the signals that the workers must inherit blocked, so it comes first.
    resource_tracker.ensure_running()
    # Fresh interpreters inherit only the blocked signals: Ctrl-C is handled by this process alone.
    held = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        pool = multiprocessing.get_context("spawn").Pool(processes)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
    try:
        yield pool.imap(answer, questions, chunksize=CHUNK)
    finally:
        pool.terminate()
        pool.join()


def _percentiles(values: Sequence[float]) -> Percentiles:
    ordered = sorted(values)

    def rank(percent: float) -> float:
        return round(ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)], 3)

    return Percentiles(rank(50), rank(99), rank(100))


def _judged(fleet: Fleet, runs: Sequence[Run], worst: Sequence[Run], took_s: float) -> Prediction:
    rto, rpo = _percentiles([run.rto_s for run in runs]), _percentiles([run.rpo_s for run in runs])
    moved = [run.rto_s for run in runs if run.failovers]
    observed_s = sum(run.observed_s for run in runs)
    violations = tuple(Violation(run.seed, run.violation) for run in runs if run.violation is not None)
    lost = sum(run.lost for run in runs)
    promised = fleet.mode is not ReplicationMode.ASYNC
    met = Met(
        rto=rto.max <= fleet.rto_s,
        rpo=lost == 0 if promised else rpo.max <= fleet.rpo_s,
        safety=not violations,
    )
    return Prediction(
        application=fleet.app,
        replication=fleet.mode,
        runs=len(runs),
        seeds=(runs[0].seed, runs[-1].seed),
        rto_write_s=rto,
        rto_failover_s=_percentiles(moved) if moved else None,
        rpo_s=rpo,
        acknowledged=sum(run.acknowledged for run in runs),
        lost=lost,
        failovers=sum(run.failovers for run in runs),
        needless_failovers=sum(run.needless for run in runs),
        patience=_patience(fleet),
        availability=round(100 * (1 - sum(run.unavailable_s for run in runs) / observed_s), 4),
        objectives=Objectives(fleet.rto_s, 0.0 if promised else fleet.rpo_s, met),
        violations=violations,
        worst=tuple(WorstRun(run.seed, round(run.rto_s, 3), run.lost, tuple(run.incidents)) for run in worst),
        story=(),
        virtual_s=round(observed_s - sum(run.skipped_s for run in runs), 1),
        represented_s=round(observed_s, 1),
        took_s=round(took_s, 1),
        passed=met.rto and met.rpo and met.safety,
        hours=None,
        capacity=(),
    )


def _patience(fleet: Fleet) -> Patience:
    """Return which freezes of the primary's region cause a failover: those of the fleet's file, else typical ones."""
    heartbeat_s, waits_s = timers.derive(max(fleet.rtt_s.values())).heartbeat_s, fleet.patience.takeover_s
    given = {each.lasting_s: each.per_year for each in fleet.freezes} or dict.fromkeys(FREEZES_S)
    return Patience(
        lease_s=fleet.patience.lease_s,
        waits_s=waits_s,
        freezes=tuple(
            Freeze(each_s, per_year, fails_over(each_s, waits_s, heartbeat_s))
            for each_s, per_year in sorted(given.items())
        ),
        needless_per_year=needless_per_year(fleet.freezes, waits_s, heartbeat_s) if fleet.freezes else None,
    )
