"""The swarm for as long as it takes: worlds by the million, on every core, resumable.

    python -m tests.sim.long_run --seeds 1000000 [--hours H] [--jobs N] [--state FILE] [--first SEED]
    python -m tests.sim.long_run --replay SEED FAULT/PHASE

Progress goes to stderr; the last line on stdout counts worlds, violations and pairs never met. What was done is kept in
the state file, so an interrupted run goes on where it was, as long as the code is the same. Exit status: 0 nothing was
found, 1 a promise was broken, 2 the state is of other code.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import leeward
from leeward.sim import swarm
from leeward.sim.coverage import Coverage
from leeward.sim.plan import Pair, draw
from leeward.sim.steering import Steering, pair_text, parse_pair

WORLDS_PER_JOB = 16
"""How many worlds each process gets before the state is written."""


@dataclass(slots=True)
class Result:
    """What came of one world."""

    seed: int
    pair: Pair
    violation: str | None
    met: Coverage
    virtual_s: float


@dataclass(slots=True)
class Run:
    """Everything that a run has done so far."""

    code: str
    first: int
    next_seed: int
    virtual_s: float = 0.0
    violations: list[tuple[int, str, str]] = field(default_factory=list)
    """(seed, pair, what was broken)."""
    met: Coverage = field(default_factory=Coverage)
    tried: Counter[Pair] = field(default_factory=Counter)
    """How many worlds were led to each pair."""

    @property
    def worlds(self) -> int:
        """How many worlds were lived through."""
        return self.next_seed - self.first

    def take(self, result: Result) -> None:
        """Count one world; they come in the order of their seeds."""
        self.next_seed = result.seed + 1
        self.virtual_s += result.virtual_s
        self.met.add(result.met)
        if result.violation is not None:
            self.violations.append((result.seed, pair_text(result.pair), result.violation))

    def save(self, path: Path) -> None:
        """Write the state; whoever reads finds the old one or the new one."""
        saved = {
            "code": self.code,
            "first": self.first,
            "next_seed": self.next_seed,
            "virtual_s": self.virtual_s,
            "violations": self.violations,
            "phases": [[*pair, count] for pair, count in self.met.phases.items()],
            "tried": [[pair_text(pair), count] for pair, count in self.tried.items()],
            "activities": [[*pair, count] for pair, count in self.met.activities.items()],
        }
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(saved))
        beside.replace(path)

    @staticmethod
    def load(path: Path) -> "Run":
        """Read a state."""
        saved = json.loads(path.read_text())
        counts = [
            Counter({(kind, where): count for kind, where, count in saved[name]}) for name in ("phases", "activities")
        ]
        return Run(
            code=saved["code"],
            first=saved["first"],
            next_seed=saved["next_seed"],
            virtual_s=saved["virtual_s"],
            violations=[tuple(each) for each in saved["violations"]],
            met=Coverage(*counts),
            tried=Counter({parse_pair(pair): count for pair, count in saved["tried"]}),
        )

    def summary(self) -> str:
        """Return the last line."""
        return (
            f"{self.worlds} worlds (seeds {self.first} to {self.next_seed - 1}), {self.virtual_s / 3600:.1f} virtual "
            f"hours, {len(self.violations)} violations, {len(self.met.unmet())} pairs never met, code {self.code}"
        )


def live(task: tuple[int, Pair]) -> Result:
    """Live through one world. A crash of the code is a violation, too."""
    seed, pair = task
    try:
        outcome = swarm.run(draw(seed, pair=pair))
    except Exception as error:  # noqa: BLE001
        return Result(seed, pair, f"{type(error).__name__}: {error}", Coverage(), 0.0)
    return Result(seed, pair, outcome.violation, outcome.met, outcome.virtual_s)


def code() -> str:
    """Return what tells versions of the code apart."""
    found = hashlib.sha256()
    for path in sorted(Path(leeward.__file__).parent.rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


def batches(run: Run, steering: Steering, jobs: int, last: int, until_s: float) -> Iterator[list[tuple[int, Pair]]]:
    """Yield the worlds to live through next: each led to the pair met least by then."""
    while run.next_seed < last and time.monotonic() < until_s:
        seeds = range(run.next_seed, min(last, run.next_seed + jobs * WORLDS_PER_JOB))
        yield [(seed, steering.next_pair()) for seed in seeds]


def swarm_on(run: Run, *, last: int, until_s: float, jobs: int, state: Path) -> None:
    """Live through worlds until the last one, or the time, is reached."""
    steering, began_s, before = Steering(run.met, run.tried), time.monotonic(), run.worlds
    pool = ProcessPoolExecutor(jobs, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))
    try:
        for tasks in batches(run, steering, jobs, last, until_s):
            for result in pool.map(live, tasks):
                run.take(result)
                if result.violation is not None:
                    replay = f"make swarm REPLAY='{result.seed} {pair_text(result.pair)}'"
                    print(f"BROKEN: {result.violation}\n  replay: {replay}", file=sys.stderr, flush=True)
            run.save(state)
            rate = (run.worlds - before) / (time.monotonic() - began_s)
            print(f"{rate:5.1f} worlds a second: {run.summary()}", file=sys.stderr, flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
        run.save(state)


def replay(seed: int, pair: Pair) -> int:
    """Print the story of one world."""
    plan = draw(seed, pair=pair)
    print(plan)
    outcome = swarm.run(plan, trace=print)
    print(outcome.violation or "every promise was kept")
    return 1 if outcome.violation else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Live through worlds drawn from seeds, on every core.")
    parser.add_argument(
        "--seeds", type=int, default=None, help="How many worlds, those before an interruption included."
    )
    parser.add_argument("--hours", type=float, default=None, help="For how long, from now.")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="Worker processes.")
    parser.add_argument("--first", type=int, default=0, help="The first seed.")
    parser.add_argument("--state", type=Path, default=Path("swarm.json"), help="Where progress is kept.")
    parser.add_argument("--replay", nargs=2, metavar=("SEED", "FAULT/PHASE"), help="Tell one world's story.")
    given = parser.parse_args()
    if given.replay:
        return replay(int(given.replay[0]), parse_pair(given.replay[1]))
    run = Run.load(given.state) if given.state.exists() else Run(code(), given.first, given.first)
    if run.code != code():
        print(f"{given.state} is of code {run.code}, and this is {code()}: remove it to begin again", file=sys.stderr)
        return 2
    last = run.first + given.seeds if given.seeds is not None else sys.maxsize
    until_s = time.monotonic() + 3600 * given.hours if given.hours is not None else float("inf")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        swarm_on(run, last=last, until_s=until_s, jobs=given.jobs, state=given.state)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
    print(run.met.table())
    for seed, pair, violation in run.violations:
        print(f"seed {seed}, led to {pair}: {violation}")
    print(run.summary())
    return 1 if run.violations else 0


if __name__ == "__main__":
    sys.exit(main())
