"""Predictions from the command line: spread runs over processes, gather, judge against the objectives."""

import json
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from leeward.cli.console import Console
from leeward.cli.exits import CommandError, ExitCode, InterruptedByUserError
from leeward.cli.forms import Mode, TableOutput
from leeward.core import timers
from leeward.core.delays import fails_over, needless_per_year
from leeward.core.values import ReplicationMode
from leeward.sim.faults import Kind
from leeward.sim.fleet import Fleet
from leeward.sim.predict import INCIDENTS, Question, Run, answer, capacity, fleet_of, story
from leeward.spec import Problem, load
from leeward.spec.application import Application
from leeward.spec.spec import Spec

API_VERSION = "leeward.dev/v1alpha1"
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
    mode: Mode | None
    seed: int | None
    jobs: int | None


@dataclass(frozen=True, slots=True)
class Percentiles:
    """A distribution in seconds, by nearest rank."""

    p50: float
    p99: float
    max: float


def names(console: Console) -> None:
    """List every fault."""
    console.data("\n".join(kind + ("" if kind in INCIDENTS else "  (only when named)") for kind in Kind))


def predict(console: Console, request: SimulationRequest, output: TableOutput) -> ExitCode:
    """Run the simulation and print the prediction."""
    spec = load(request.directory)
    application = _application(spec, request)
    fleet = fleet_of(spec, application, None if request.mode is None else ReplicationMode(request.mode))
    kinds = _kinds(request.faults)
    seeds = range(1, request.runs + 1) if request.seed is None else (request.seed,)
    questions = [Question(fleet, kinds, request.hours, seed) for seed in seeds]
    began_s = time.monotonic()
    runs = list(_answers(console, questions, request.jobs))
    took_s = time.monotonic() - began_s
    worst = sorted(runs, key=lambda run: (run.violation is None, -run.rto_s, run.seed))[:WORST]
    timeline = story(Question(fleet, kinds, request.hours, worst[0].seed))
    document = _document(fleet, runs, worst, timeline, took_s)
    document |= {"hours": request.hours, "capacity": capacity(spec, application)}
    console.data(json.dumps(document, indent=2) if output is TableOutput.JSON else _table(document))
    return ExitCode.DONE if document["passed"] else ExitCode.NO


def _application(spec: Spec, request: SimulationRequest) -> Application:
    named = {each.metadata.name: each for each in spec.applications}
    if request.app is None and len(named) == 1:
        return next(iter(named.values()))
    if request.app in named:
        return named[request.app]
    raise CommandError(
        Problem(
            code="which-application",
            where=str(request.directory),
            what=f"unknown application {request.app}" if request.app else f"there are {len(named)} applications",
            why="one application is simulated at a time",
            fix=f"--app {' | '.join(sorted(named))}",
        )
    )


def _kinds(wanted: Sequence[str]) -> tuple[Kind, ...]:
    unknown = [name for name in wanted if name not in tuple(Kind)]
    if unknown:
        raise CommandError(
            Problem(
                code="unknown-fault",
                where="--fault",
                what=f"unknown fault {', '.join(unknown)}",
                why="faults are selected by name",
                fix="leeward simulate -f DIR --fault list",
            )
        )
    return tuple(map(Kind, wanted)) or INCIDENTS


def _answers(console: Console, questions: Sequence[Question], jobs: int | None) -> Iterator[Run]:
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
                    console.progress(f"{done} of {len(questions)} runs, about {left_s:.0f} s to go")
                yield run
    except KeyboardInterrupt:
        console.note(f"stopped after {done} of {len(questions)} runs")
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


def _document(
    fleet: Fleet, runs: Sequence[Run], worst: Sequence[Run], timeline: list[str], took_s: float
) -> dict[str, Any]:
    rto, rpo = _percentiles([run.rto_s for run in runs]), _percentiles([run.rpo_s for run in runs])
    moved = [run.rto_s for run in runs if run.failovers]
    observed_s = sum(run.observed_s for run in runs)
    violations = [run for run in runs if run.violation is not None]
    lost = sum(run.lost for run in runs)
    promised = fleet.mode is not ReplicationMode.ASYNC
    met = {
        "rto": rto.max <= fleet.rto_s,
        "rpo": lost == 0 if promised else rpo.max <= fleet.rpo_s,
        "safety": not violations,
    }
    return {
        "apiVersion": API_VERSION,
        "application": fleet.app,
        "replication": fleet.mode,
        "runs": len(runs),
        "seeds": [runs[0].seed, runs[-1].seed],
        "rto_write_s": asdict(rto),
        "rto_failover_s": asdict(_percentiles(moved)) if moved else None,
        "rpo_s": asdict(rpo),
        "acknowledged": sum(run.acknowledged for run in runs),
        "lost": lost,
        "failovers": sum(run.failovers for run in runs),
        "needless_failovers": sum(run.needless for run in runs),
        "patience": _patience(fleet),
        "availability": round(100 * (1 - sum(run.unavailable_s for run in runs) / observed_s), 4),
        "objectives": {
            "rto_s": fleet.rto_s,
            "rpo_s": 0.0 if promised else fleet.rpo_s,
            "met": met,
        },
        "violations": [{"seed": run.seed, "because": run.violation} for run in violations],
        "worst": [
            {"seed": run.seed, "rto_s": round(run.rto_s, 3), "lost": run.lost, "incidents": list(run.incidents)}
            for run in worst
        ],
        "story": timeline,
        # The part of represented_s that was simulated; the rest was quiet and was skipped.
        "virtual_s": round(observed_s - sum(run.skipped_s for run in runs), 1),
        "represented_s": round(observed_s, 1),
        "took_s": round(took_s, 1),
        "passed": all(met.values()),
    }


def _patience(fleet: Fleet) -> dict[str, Any]:
    """Return which freezes of the primary's region cause a failover: those of the fleet's file, else typical ones."""
    heartbeat_s, waits_s = timers.derive(max(fleet.rtt_s.values())).heartbeat_s, fleet.patience.takeover_s
    given = {each.lasting_s: each.per_year for each in fleet.freezes} or dict.fromkeys(FREEZES_S)
    return {
        "lease_s": fleet.patience.lease_s,
        "waits_s": waits_s,
        "freezes": [
            {"lasting_s": each_s, "per_year": per_year, "fails_over": fails_over(each_s, waits_s, heartbeat_s)}
            for each_s, per_year in sorted(given.items())
        ],
        "needless_per_year": needless_per_year(fleet.freezes, waits_s, heartbeat_s) if fleet.freezes else None,
    }


def _freeze_lines(patience: dict[str, Any]) -> Iterator[str]:
    """Yield the effect of freezes of the primary's region, in sentences."""
    for fails, effect in ((False, "tolerated"), (True, "fails over, needlessly if the region resumes")):
        lengths = [
            f"{each['lasting_s']:g} s" + ("" if each["per_year"] is None else f" ({each['per_year']:g} per year)")
            for each in patience["freezes"]
            if each["fails_over"] is fails
        ]
        if lengths:
            yield f"frozen for {', '.join(lengths)}: {effect}"
    if patience["needless_per_year"] is not None:
        yield f"needless failovers per year due to freezes: {patience['needless_per_year']:g}"


def _table(document: dict[str, Any]) -> str:
    """Return the prediction as text."""
    objectives, rto, rpo = document["objectives"], document["rto_write_s"], document["rpo_s"]
    moved, met = document["rto_failover_s"], objectives["met"]

    def yes(name: str) -> str:
        return "yes" if met[name] else "NO"

    broken = len(document["violations"])
    runs = f"{document['runs']} {'incidents' if document['runs'] > 1 else 'incident'}"
    if document["hours"] is not None:
        runs = f"{document['runs']} x {document['hours']:g} hours"
    head = f"application/{document['application']} {document['replication']}: {runs}, "
    rto_target, rpo_target = (f"<= {objectives[name]:g} s" for name in ("rto_s", "rpo_s"))
    lines = [
        head + f"{document['represented_s']:.0f} s of virtual time{_left_out(document)} in {document['took_s']:.1f} s",
        "",
        f"{'OBJECTIVE':<12}{'TARGET':>10}{'PREDICTED':>12}   MET",
        f"{'rto-write':<12}{rto_target:>10}{rto['max']:>10.2f} s   {yes('rto')}",
        f"{'rpo':<12}{rpo_target:>10}{rpo['max']:>10.2f} s   {yes('rpo')}",
        f"{'safety':<12}{'no breach':>10}{f'{broken} breached' if broken else 'no breach':>12}   {yes('safety')}",
        "",
        f"{'IMPACT':<34}{'P50':>8}{'P99':>8}{'MAX':>8}",
        _row("longest time without a write (s)", rto),
        *([_row("the same, in runs with a failover", moved)] if moved is not None else []),
        _row("acknowledged writes lost (s)", rpo),
        f"{'acknowledged writes':<34}{document['acknowledged']:>24}",
        f"{'lost':<34}{document['lost']:>24}",
        f"{'failovers':<34}{document['failovers']:>24}",
        f"{'of them needless':<42}{document['needless_failovers']:>16}",
        f"{'write availability':<34}{document['availability']:>22.2f} %",
        *_freeze_lines(document["patience"]),
        *(f"capacity: {each}" for each in document["capacity"]),
        *(f"violation in run {each['seed']}: {each['because']}" for each in document["violations"]),
        "",
        f"{'WORST RUNS':<14}{'NO WRITES':>10}{'LOST':>7}   WHAT HAPPENED",
        *(
            f"--seed {each['seed']:<7}{each['rto_s']:>8.2f} s{each['lost']:>7}   "
            + "; ".join(each["incidents"][:3])
            + (f"; and {len(each['incidents']) - 3} more" if len(each["incidents"]) > 3 else "")
            for each in document["worst"]
        ),
        "",
        f"timeline of run {document['worst'][0]['seed']}, in seconds since the first incident began:",
        *document["story"],
    ]
    return "\n".join(lines)


def _left_out(document: dict[str, Any]) -> str:
    lived, represented = document["virtual_s"], document["represented_s"]
    return f" ({lived:.0f} s simulated, the rest was idle)" if lived < represented else ""


def _row(name: str, found: dict[str, float]) -> str:
    return f"{name:<34}{found['p50']:>8.2f}{found['p99']:>8.2f}{found['max']:>8.2f}"
