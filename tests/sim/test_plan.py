"""What the swarm draws: every kind of fault, every size of fleet, every quality of network."""

from collections import Counter

from leeward.core.values import ReplicationMode
from leeward.sim.faults import OPERATORS, Kind
from leeward.sim.plan import PAIRS, draw

DRAWN = 300
PLANS = [draw(seed) for seed in range(DRAWN)]


def test_every_fault_is_drawn_often() -> None:
    worlds = Counter(kind for plan in PLANS for kind in {fault.kind for fault in plan.faults})
    assert {kind: worlds[kind] for kind in Kind if worlds[kind] < DRAWN // 20} == {}


def test_every_fault_but_lag_lies_in_wait() -> None:
    triggered = Counter(trigger.fault.kind for plan in PLANS for trigger in plan.triggered)
    assert set(Kind) - set(triggered) == {Kind.SLOW_REPLICA}
    assert {trigger.who for plan in PLANS for trigger in plan.triggered if trigger.fault.kind in OPERATORS} != set()


def test_fleets_have_two_to_seven_regions_with_and_without_a_witness_in_every_mode() -> None:
    sizes = Counter(len(plan.fleet.regions) for plan in PLANS)
    assert {size: count for size, count in sizes.items() if count >= 10}.keys() == {2, 3, 4, 5, 6, 7}
    shapes = {(bool(plan.fleet.witnesses), plan.fleet.mode) for plan in PLANS}
    assert shapes == {(witness, mode) for witness in (True, False) for mode in ReplicationMode}


def test_data_regions_come_and_go_and_some_fleets_begin_with_spares() -> None:
    changed = [plan for plan in PLANS if any(fault.kind is Kind.DATA_REGIONS for fault in plan.faults)]
    assert {len(plan.fleet.spares) for plan in changed} == {0, 1, 2}
    assert {len(plan.fleet.data_regions) for plan in changed} >= {1, 2, 3, 5}
    assert all(set(plan.fleet.spares) <= set(plan.fleet.hosts) for plan in PLANS)


def test_networks_lose_reorder_and_duplicate() -> None:
    assert {plan.loss for plan in PLANS} == {0.0, 0.01, 0.05}
    assert {plan.jitter for plan in PLANS} == {0.0, 0.1, 0.5}
    assert {plan.duplication for plan in PLANS} == {0.0, 0.1}


def test_a_tenth_of_the_worlds_is_so_calm_that_nothing_may_move() -> None:
    calm = sum(plan.calm for plan in PLANS)
    assert DRAWN // 20 < calm < DRAWN // 5


def test_each_pair_of_a_fault_and_a_phase_has_its_turn() -> None:
    plans = (draw(seed) for seed in range(2 * len(PAIRS)))
    triggered = {(trigger.fault.kind, trigger.phase) for plan in plans for trigger in plan.triggered}
    assert set(PAIRS) - triggered == set()
