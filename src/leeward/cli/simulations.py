"""Predictions from the command line: spread runs over processes, gather, judge against the objectives."""

import json
import math
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from leeward.cli.commands.simulate import SimulateOutput
from leeward.cli.commands.steer import Mode
from leeward.cli.console import Console
from leeward.cli.exits import CommandError, ExitCode
from leeward.core.values import ReplicationMode
from leeward.sim.faults import Kind
from leeward.sim.fleet import Fleet
from leeward.sim.predict import INCIDENTS, Question, Run, answer, fleet_of, story
from leeward.spec import Problem, load
from leeward.spec.application import Application
from leeward.spec.spec import Spec

API_VERSION = "leeward.dev/v1alpha1"
PROGRESS_EVERY_S = 2.0
WORST = 3
CHUNK = 4


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user wants predicted."""

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


def predict(console: Console, wish: Wish, output: SimulateOutput) -> ExitCode:
    """Run what the user wants and print it."""
    spec = load(wish.directory)
    application = _application(spec, wish)
    fleet = fleet_of(spec, application, None if wish.mode is None else ReplicationMode(wish.mode))
    kinds = _kinds(wish.faults)
    seeds = range(1, wish.runs + 1) if wish.seed is None else (wish.seed,)
    questions = [Question(fleet, kinds, wish.hours, seed) for seed in seeds]
    began_s = time.monotonic()
    runs = list(_answers(console, questions, wish.jobs))
    took_s = time.monotonic() - began_s
    worst = sorted(runs, key=lambda run: (run.violation is None, -run.rto_s, run.seed))[:WORST]
    telling = story(Question(fleet, kinds, wish.hours, worst[0].seed))
    document = _document(fleet, runs, worst, telling, took_s)
    console.data(json.dumps(document, indent=2) if output is SimulateOutput.JSON else _table(document))
    return ExitCode.DONE if document["passed"] else ExitCode.NO


def _application(spec: Spec, wish: Wish) -> Application:
    named = {each.metadata.name: each for each in spec.applications}
    if wish.app is None and len(named) == 1:
        return next(iter(named.values()))
    if wish.app in named:
        return named[wish.app]
    raise CommandError(
        Problem(
            code="which-application",
            where=str(wish.directory),
            what=f"there is no application {wish.app}" if wish.app else f"there are {len(named)} applications",
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
                what=f"there is no fault {', '.join(unknown)}",
                why="faults are chosen by name",
                fix="leeward simulate -f DIR --fault list",
            )
        )
    return tuple(map(Kind, wanted)) or INCIDENTS


def _answers(console: Console, questions: Sequence[Question], jobs: int | None) -> Iterator[Run]:
    """Yield every run in the order of the seeds, whoever computed it."""
    processes = min(jobs or len(os.sched_getaffinity(0)), len(questions))
    said_s = began_s = time.monotonic()
    if processes == 1:
        found: Iterator[Run] = map(answer, questions)
        yield from found
        return
    # Fresh interpreters: nothing of this process is inherited, on any platform.
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for number, run in enumerate(pool.imap(answer, questions, chunksize=CHUNK), start=1):
            now_s = time.monotonic()
            if now_s - said_s >= PROGRESS_EVERY_S:
                said_s = now_s
                left_s = (now_s - began_s) / number * (len(questions) - number)
                console.progress(f"{number} of {len(questions)} runs, about {left_s:.0f} s to go")
            yield run


def _percentiles(values: Sequence[float]) -> Percentiles:
    ordered = sorted(values)

    def rank(percent: float) -> float:
        return round(ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)], 3)

    return Percentiles(rank(50), rank(99), rank(100))


def _document(
    fleet: Fleet, runs: Sequence[Run], worst: Sequence[Run], telling: list[str], took_s: float
) -> dict[str, object]:
    rto, rpo = _percentiles([run.rto_s for run in runs]), _percentiles([run.rpo_s for run in runs])
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
        "rpo_s": asdict(rpo),
        "acknowledged": sum(run.acknowledged for run in runs),
        "lost": lost,
        "failovers": sum(run.failovers for run in runs),
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
        "story": telling,
        "virtual_s": round(observed_s, 1),
        "took_s": round(took_s, 1),
        "passed": all(met.values()),
    }


def _table(document: dict[str, object]) -> str:
    """Return the prediction for people."""

    def row(name: str, found: object) -> str:
        assert isinstance(found, dict)
        return f"{name:<14}{found['p50']:>8.2f} s{found['p99']:>8.2f} s{found['max']:>8.2f} s"

    objectives, worst, story_ = document["objectives"], document["worst"], document["story"]
    assert isinstance(objectives, dict)
    assert isinstance(worst, list)
    assert isinstance(story_, list)
    met = ", ".join(f"{name} {'met' if yes else 'MISSED'}" for name, yes in objectives["met"].items())
    violations = document["violations"]
    assert isinstance(violations, list)
    head = (
        f"application/{document['application']} {document['replication']}: {document['runs']} simulated incidents, "
        f"{document['virtual_s']} s of virtual time in {document['took_s']} s"
    )
    sums = (
        f"acknowledged {document['acknowledged']}, lost {document['lost']}, failovers {document['failovers']}, "
        f"writes accepted {document['availability']} % of the time of the incidents"
    )
    lines = [
        head,
        "",
        f"{'':<14}{'p50':>10}{'p99':>10}{'max':>10}",
        row("RTO (writes)", document["rto_write_s"]),
        row("RPO", document["rpo_s"]),
        "",
        sums,
        f"objectives: RTO {objectives['rto_s']:g} s, RPO {objectives['rpo_s']:g} s: {met}",
        *(f"broken promise in run {each['seed']}: {each['because']}" for each in violations),
        "",
        "worst runs:",
        *(
            f"  --seed {each['seed']}: {each['rto_s']:.2f} s without writes, {each['lost']} lost; "
            + "; ".join(each["incidents"][:3])
            for each in worst
        ),
        "",
        f"the story of run {worst[0]['seed']}:",
        *(f"  {line}" for line in story_),
    ]
    return "\n".join(lines)
