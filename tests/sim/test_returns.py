"""An application, and a primary with every write, return by themselves, and without harm to other applications."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from leeward.core import keys
from leeward.core.codec import encode
from leeward.core.values import App, Phase, Region, Removed, ReplicationMode
from leeward.ports.quorum import Delete, Put
from leeward.sim.fleet import Fleet, three
from leeward.sim.simulation import Simulation

US, EU, AP = Region("us"), Region("eu"), Region("ap")
ORDERS = App("orders")


def steady(simulation: Simulation) -> bool:
    return simulation.topology is not None and simulation.topology.phase is Phase.STEADY


@pytest.mark.parametrize("down", [False, True], ids=["all regions up", "one region down"])
def test_an_application_that_is_named_again_leaves_another_one_alone(down: bool) -> None:
    fleet = three(ReplicationMode.ASYNC)
    simulation = Simulation(fleet, 1, jitter=0.0, write_every_s=0.5, beside=replace(fleet, app=ORDERS))
    schedule = simulation.schedule
    schedule.run_until(12.0)
    if down:
        simulation.sites[AP].kill()
    schedule.run_until(20.0)
    assert simulation.topology is not None
    before = simulation.topology.epoch
    # As after ten minutes without a file that names it; then a file names it again.
    key = keys.topology("simulated", ORDERS)
    left = Put(keys.removed("simulated", ORDERS), encode(Removed(1)))
    simulation.store.transact(US, (), (Delete(key), left), lambda _: None)
    schedule.run_until(50.0)
    assert steady(simulation), "payments stays without a primary"
    assert simulation.topology.epoch == before
    again = simulation.applications[1].topology
    assert again is not None
    assert again.epoch > 1
    assert again.phase is Phase.STEADY or down, "with a region down its loss is unknown, and an operator decides"


@pytest.mark.parametrize("mode", [ReplicationMode.SYNC, ReplicationMode.ASYNC])
def test_a_primary_that_was_away_while_it_founded_returns(mode: ReplicationMode) -> None:
    simulation = Simulation(three(mode), 1, jitter=0.0)
    schedule = simulation.schedule
    while simulation.topology is None:
        schedule.run_until(schedule.now_s + 0.01)
    schedule.run_until(schedule.now_s + 1.0)
    simulation.sites[US].freeze()
    schedule.run_until(schedule.now_s + 6.0)
    simulation.sites[US].thaw()
    schedule.run_until(schedule.now_s + 60.0)
    assert steady(simulation)


@pytest.mark.parametrize("mode", [ReplicationMode.SYNC, ReplicationMode.ASYNC])
def test_a_primary_that_was_away_before_it_had_its_order_founds_the_application(mode: ReplicationMode) -> None:
    simulation = Simulation(three(mode), 1, jitter=0.0)
    schedule = simulation.schedule
    while simulation.topology is None:
        schedule.run_until(schedule.now_s + 0.01)
    simulation.sites[US].freeze()
    schedule.run_until(schedule.now_s + 6.0)
    simulation.sites[US].thaw()
    schedule.run_until(schedule.now_s + 60.0)
    assert steady(simulation)


def test_a_primary_returns_with_every_write_while_no_standby_has_a_copy() -> None:
    simulation = Simulation(three(ReplicationMode.SYNC), 1, jitter=0.0)
    schedule, sites = simulation.schedule, simulation.sites
    schedule.run_until(10.0)
    assert steady(simulation)
    copies = [sites[region].instances[simulation.fleet.app] for region in (EU, AP)]
    for instance in copies:
        instance.die()
        instance.lose_disk()
    sites[US].freeze()
    for instance in copies:
        instance.restart()
    schedule.run_until(16.0)
    sites[US].thaw()
    schedule.run_until(76.0)
    assert steady(simulation)


def until(simulation: Simulation, happens: Callable[[], bool]) -> None:
    schedule = simulation.schedule
    for _ in range(4000):
        if happens():
            return
        schedule.run_until(schedule.now_s + 0.005)
    raise AssertionError("it does not happen within 20 s")


def rewinding(fleet: Fleet) -> Simulation:
    """The old primary returns with writes of its own, and is about to be rewound to the new one's history."""
    simulation = Simulation(fleet, 1, jitter=0.0, write_every_s=0.2)
    simulation.schedule.run_until(6.0)
    simulation.start_clients()
    simulation.schedule.run_until(10.0)
    us, network = simulation.sites[US].instances[fleet.app], simulation.network
    for other in (EU, AP):
        network.cut(US, other)
    simulation.stop_clients()
    us.postgres.write_in_bulk(3)
    simulation.schedule.run_until(11.0)
    simulation.sites[US].kill()
    simulation.schedule.run_until(20.0)
    for other in (EU, AP):
        network.heal(US, other)
    simulation.sites[US].restart()
    until(simulation, lambda: us.activity == "stopping to rejoin")
    return simulation


def test_a_copy_that_forgot_its_source_is_replaced_once_the_wal_it_needs_is_gone() -> None:
    """It was rewound, and lost its state file before it had streamed (seed 1101027)."""
    fleet = three(ReplicationMode.SYNC)
    simulation = rewinding(fleet)
    us, eu = (simulation.sites[region].instances[fleet.app] for region in (US, EU))
    until(simulation, lambda: us.state.copied_from == EU)
    us.die()
    us.lose_state()
    eu.postgres.keeps = 0
    eu.postgres.recycle()
    us.restart()
    simulation.schedule.run_until(simulation.schedule.now_s + 60.0)
    assert us.postgres.upstream == EU
    assert us.orphans, "what could not be read was kept"


def test_a_rewind_to_a_region_that_has_just_lost_its_volume_leaves_the_last_copy_whole() -> None:
    """The old primary's data was taken for half rewound before anything of it had changed (seed 1100818)."""
    fleet = replace(three(ReplicationMode.ASYNC), spares=frozenset((AP,)), rpo_s=60.0)
    simulation = rewinding(fleet)
    us, eu = (simulation.sites[region].instances[fleet.app] for region in (US, EU))
    eu.die()
    eu.lose_disk()
    until(simulation, lambda: us.activity == "rewinding to eu")
    eu.restart()
    simulation.schedule.run_until(simulation.schedule.now_s + 60.0)
    assert steady(simulation)
    assert eu.postgres.upstream == US
