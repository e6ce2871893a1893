"""What the simulator predicts for the faults of the drills, on the same files: one table.

    python benchmarks/simulation/against_reality.py examples/payments [RUNS]

Beside each row stands the drill that measures the same on this machine. Seconds; median and largest of the runs.
"""

import itertools
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from leeward.core.values import Region, ReplicationMode
from leeward.sim.faults import Fault, Kind
from leeward.sim.fleet import Fleet
from leeward.sim.plan import FOUND_S, Plan
from leeward.sim.predict import fleet_of
from leeward.sim.swarm import live_through
from leeward.spec import load

RUNS = 20
WRITE_EVERY_S = 0.02
STRIKES_S = FOUND_S + 3.0
INJECTION_S = 20.0
# A member of the quorum store that was killed is back after about so long.
MEMBER_BACK_S = 1.0
# Longer than the lease, as the drills hold their faults.
HELD_S = 8.0
MODES = tuple(ReplicationMode)


@dataclass(frozen=True, slots=True)
class Row:
    """A fault, how the simulator is told of it, and how a drill is."""

    drill: str
    faults: tuple[Kind, ...]
    modes: tuple[ReplicationMode, ...] = (ReplicationMode.ASYNC,)


ROWS = (
    Row("region-loss", (Kind.REGION_LOSS,), MODES),
    Row("region-freeze", (Kind.REGION_FREEZE,)),
    Row("partition", (Kind.ISOLATION,)),
    Row("quorum-leader-and-region-loss", (Kind.REGION_LOSS, Kind.MEMBER_KILL)),
    Row("database-crash", (Kind.DATABASE_CRASH,)),
    Row("switchover", (Kind.SWITCHOVER,), MODES),
)


def main() -> int:
    """Print the table."""
    spec = load(Path(sys.argv[1]))
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else RUNS
    (application, *_) = spec.applications
    print(f"{'FAULT':<32}{'MODE':<8}{'P50':>6}{'MAX':>7}   COMPARE WITH")
    for row in ROWS:
        for mode in row.modes:
            fleet = fleet_of(spec, application, mode)
            found_s = [outage_s(row, fleet, seed) for seed in range(runs)]
            drill = "region-loss" if row.drill == "switchover" else row.drill
            name = f"leeward drill {drill} -f {sys.argv[1]} --replication {mode}"
            print(
                f"{row.drill:<32}{mode:<8}{statistics.median(found_s):>6.2f}{max(found_s):>7.2f}   {name}", flush=True
            )
    return 0


def outage_s(row: Row, fleet: Fleet, seed: int) -> float:
    """Return how long after the fault a write is acknowledged again; in a switchover: the longest gap."""
    # Not always at the same moment between two heartbeats.
    at_s = STRIKES_S + 0.037 * seed
    home, heir = fleet.data_regions[0], fleet.data_regions[1]
    faults = tuple(_fault(kind, at_s, home, heir) for kind in row.faults)
    seen = live_through(Plan(seed, fleet, faults, (), INJECTION_S, jitter=0.05, write_every_s=WRITE_EVERY_S))
    if seen.outcome.violation is not None:
        raise SystemExit(f"{row.drill}, seed {seed}: {seen.outcome.violation}")
    done = [found for found in seen.simulation.acknowledgements if found.committed_at_s > at_s]
    if row.faults in ((Kind.SWITCHOVER,), (Kind.DATABASE_CRASH,)):
        times_s = [at_s, *(found.committed_at_s for found in done)]
        return max(later_s - earlier_s for earlier_s, later_s in itertools.pairwise(times_s))
    return min(found.committed_at_s for found in done if found.by != home) - at_s


def _fault(kind: Kind, at_s: float, home: Region, heir: Region) -> Fault:
    fault = Fault(at_s, kind, home, None, HELD_S)
    if kind is Kind.SWITCHOVER:
        return replace(fault, other=heir, for_s=0.0)
    if kind is Kind.MEMBER_KILL:
        # The store's leader is with the heir.
        return replace(fault, where=heir, for_s=MEMBER_BACK_S)
    return fault


if __name__ == "__main__":
    sys.exit(main())
