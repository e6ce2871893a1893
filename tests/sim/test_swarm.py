"""The shipped agents in worlds drawn from seeds: whatever happens, every promise is kept.

``LEEWARD_SIMULATION_S`` says for how many seconds (30 by default), ``LEEWARD_SIMULATION_SEED`` where to begin. Each
world is led to the pair of fault and phase that was met least so far. A failure prints the seed, the pair (to begin
with: ``LEEWARD_SIMULATION_PAIR``), and the smallest world that still fails.
"""

import os
import time
from collections import Counter
from dataclasses import replace

import pytest

from leeward.sim import swarm
from leeward.sim.coverage import Coverage
from leeward.sim.faults import Kind
from leeward.sim.plan import Plan, draw
from leeward.sim.shrink import shrink
from leeward.sim.steering import Steering, pair_text, parse_pair

LASTING_S = float(os.environ.get("LEEWARD_SIMULATION_S", "30"))
FIRST_SEED = int(os.environ.get("LEEWARD_SIMULATION_SEED", "0"))
FIRST_PAIR = os.environ.get("LEEWARD_SIMULATION_PAIR")


@pytest.mark.simulation
@pytest.mark.timeout(LASTING_S + 300)
def test_no_promise_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    until_s, seed, met = time.monotonic() + LASTING_S, FIRST_SEED, Coverage()
    steering = Steering(met, Counter())
    pair = parse_pair(FIRST_PAIR) if FIRST_PAIR else steering.next_pair()
    while time.monotonic() < until_s:
        plan = draw(seed, pair=pair)
        outcome = swarm.run(plan)
        broken = outcome.violation
        met.add(outcome.met)
        if broken is not None:
            replay = f"LEEWARD_SIMULATION_SEED={seed} LEEWARD_SIMULATION_PAIR={pair_text(pair)}"
            pytest.fail(f"{plan}: {broken}\n{described(smallest(plan))}\nreplay: {replay}")
        seed, pair = seed + 1, steering.next_pair()
    with capsys.disabled():
        print(f"\n{seed - FIRST_SEED} worlds, seeds {FIRST_SEED} to {seed - 1}\n{met.table()}")
    assert seed > FIRST_SEED


def smallest(plan: Plan) -> Plan:
    return shrink(plan, lambda smaller: swarm.run(smaller).violation is not None, attempts=60)


def described(plan: Plan) -> str:
    lines = [f"the smallest found: {plan}"]
    lines += [f"  {fault.at_s:.2f} s: {fault}" for fault in plan.faults]
    return "\n".join(lines + [f"  {trigger}" for trigger in plan.triggered])


def test_a_seed_is_one_world() -> None:
    def trace(seed: int) -> list[str]:
        lines = list[str]()
        swarm.run(draw(seed), trace=lines.append)
        return lines

    assert trace(3) == trace(3)
    assert trace(3) != trace(4)


def test_shrinking_keeps_what_breaks_and_little_else() -> None:
    plan = next(plan for plan in map(draw, range(100)) if sum(f.kind is Kind.REGION_LOSS for f in plan.faults) >= 2)

    def loses_a_region(smaller: Plan) -> bool:
        return any(fault.kind is Kind.REGION_LOSS for fault in smaller.faults)

    small = shrink(plan, loses_a_region)
    assert [fault.kind for fault in small.faults] == [Kind.REGION_LOSS]
    assert small.triggered == ()
    assert len(small.fleet.regions) == 2
    assert replace(small, fleet=plan.fleet, faults=plan.faults, triggered=plan.triggered).seed == plan.seed
