"""Measure how fast the simulator is, per core: a world at rest, under faults, and hours with an incident now and then.

    python benchmarks/simulation/measure.py --seeds 40

Judged by processor time, since the machine may be busy with other work. *Simulated* is the virtual time that was
simulated event by event; *represented* adds the quiet stretches that were left out, which only long runs have.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from leeward.core.values import ReplicationMode
from leeward.sim.fleet import three
from leeward.sim.plan import FOUND_S, Focus, draw
from leeward.sim.predict import INCIDENTS, Question, plan_of
from leeward.sim.simulation import Simulation
from leeward.sim.swarm import live_through

TARGET = 1000.0
REST_S = 120.0
HOURS = 2.0


@dataclass(frozen=True, slots=True)
class Result:
    """What some worlds took, one core."""

    worlds: int
    lived_s: float
    told_s: float
    events: int
    cpu_s: float

    def row(self, name: str) -> str:
        """Return the line for people."""
        return (
            f"{name:<28}{self.worlds:>7}{self.events / self.lived_s:>11.0f}{self.cpu_s:>8.1f}"
            f"{self.worlds / self.cpu_s:>11.2f}{self.lived_s / self.cpu_s:>9.0f}x{self.told_s / self.cpu_s:>9.0f}x"
        )


def at_rest(write_every_s: float) -> Result:
    """Let three regions be, while users write."""
    simulation = Simulation(three(ReplicationMode.ASYNC), 1, write_every_s=write_every_s)
    schedule = simulation.schedule
    schedule.run_until(FOUND_S)
    simulation.start_clients()
    schedule.run_until(3 * FOUND_S)
    events, began_s = schedule.steps, time.process_time()
    schedule.run_until(3 * FOUND_S + REST_S)
    return Result(1, REST_S, REST_S, schedule.steps - events, time.process_time() - began_s)


def under_faults(seeds: int) -> Result:
    """Run plans of three regions as the swarm draws them."""
    began_s = time.process_time()
    seen = [live_through(draw(seed, Focus(counts=(3,)))) for seed in range(seeds)]
    cpu_s = time.process_time() - began_s
    lived_s = sum(one.outcome.virtual_s for one in seen)
    return Result(seeds, lived_s, lived_s, sum(one.simulation.schedule.steps for one in seen), cpu_s)


def hours(seeds: int) -> Result:
    """Live through hours with an incident every ten minutes, as ``leeward simulate --duration`` does."""
    began_s = time.process_time()
    fleet = three(ReplicationMode.SYNC)
    seen = [live_through(plan_of(Question(fleet, INCIDENTS, HOURS, seed))) for seed in range(seeds)]
    cpu_s = time.process_time() - began_s
    lived_s = sum(one.outcome.virtual_s for one in seen)
    skipped_s = sum(one.outcome.skipped_s for one in seen)
    return Result(seeds, lived_s, lived_s + skipped_s, sum(one.simulation.schedule.steps for one in seen), cpu_s)


def main() -> int:
    """Measure and print; exit status 1 when a world at rest is slower than the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40, help="worlds under faults; a tenth as many long runs")
    parser.add_argument("--target", type=float, default=TARGET, help="times real time, per core, at rest")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    measures: dict[str, Callable[[], Result]] = {
        "at rest, 30 writes/s": lambda: at_rest(0.1),
        "at rest, 3 writes/s": lambda: at_rest(1.0),
        "under faults": lambda: under_faults(wanted.seeds),
        f"{HOURS:g} hours of incidents": lambda: hours(max(1, wanted.seeds // 10)),
    }
    found = {name: measure() for name, measure in measures.items()}
    if wanted.json:
        print(json.dumps({name: asdict(result) for name, result in found.items()}))
    else:
        print(f"{'':<28}{'worlds':>7}{'events/s':>11}{'CPU s':>8}{'worlds/s':>11}{'simulated':>12}{'represented':>13}")
        for name, result in found.items():
            print(result.row(name))
    slowest = min(result.lived_s / result.cpu_s for name, result in found.items() if name.startswith("at rest"))
    return 0 if slowest >= wanted.target else 1


if __name__ == "__main__":
    sys.exit(main())
