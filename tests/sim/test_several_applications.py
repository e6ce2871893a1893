"""Agents look after several applications: what befalls one of them is not felt by another."""

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from leeward.core.values import App, ReplicationMode
from leeward.sim import checkers
from leeward.sim.faults import Fault, Kind
from leeward.sim.fleet import three
from leeward.sim.plan import FOUND_S, Plan, draw
from leeward.sim.shrink import shrink
from leeward.sim.swarm import live_through

OF_ONE_DATABASE = (
    Kind.INSTANCE_KILL,
    Kind.DATABASE_CRASH,
    Kind.HUNG_DISK,
    Kind.LATE_REQUEST,
    Kind.STEP_FAILURE,
    Kind.STATE_LOSS,
    Kind.VOLUME_LOSS,
)
INJECTION_S = 30.0
GAP_S = 1.5
"""Two writes of a client, three tries and a round trip over the largest fleet lie within it."""


def plan(seed: int) -> Plan:
    """Two applications of three regions, and faults of the first one's databases."""
    chance = Random(seed)
    mode = tuple(ReplicationMode)[seed % len(ReplicationMode)]
    faults = [
        Fault(FOUND_S + at_s, chance.choice(OF_ONE_DATABASE), chance.choice(three(mode).regions), None, 4.0, 4.0)
        for at_s in range(1, int(INJECTION_S), 3)
    ]
    beside = replace(three(chance.choice(tuple(ReplicationMode))), app=App("orders"))
    return Plan(seed, three(mode), tuple(faults), (), INJECTION_S, beside=beside)


@pytest.mark.parametrize("seed", range(6))
def test_what_befalls_one_database_is_not_felt_by_another_application(seed: int) -> None:
    seen = live_through(plan(seed))
    assert seen.outcome.violation is None
    stricken, beside = seen.simulation.applications
    assert checkers.epoch(seen.simulation.sites, beside.app) == 1
    times_s = sorted(each.committed_at_s for each in beside.acknowledgements)
    assert max(later - earlier for earlier, later in pairwise(times_s)) < GAP_S
    assert {each.by for each in stricken.acknowledgements} >= {"us"}


def test_the_faults_are_felt_by_the_application_they_are_aimed_at() -> None:
    epochs = [checkers.epoch(seen.simulation.sites, App("payments")) for seen in map(live_through, map(plan, range(3)))]
    assert max(epochs) > 1


def test_a_share_of_the_worlds_has_a_second_application() -> None:
    drawn = [draw(seed) for seed in range(200)]
    assert 10 < sum(each.beside is not None for each in drawn) < 60


def test_a_failing_plan_is_shrunk_to_one_application_where_that_suffices() -> None:
    found = next(each for each in map(draw, range(100)) if each.beside is not None)
    assert shrink(found, lambda smaller: True, attempts=1).beside is None
