"""A store restored from before the last failover, or lost: one writer per epoch, and order afterwards."""

import pytest

from leeward.core.recovery import RECOVERY_EPOCHS
from leeward.core.values import Region, ReplicationMode
from leeward.sim import checkers
from leeward.sim.fleet import three
from leeward.sim.simulation import Simulation

US = Region("us")
SETTLED_S = 40.0


@pytest.mark.simulation
@pytest.mark.parametrize("mode", [ReplicationMode.ASYNC, ReplicationMode.SYNC])
@pytest.mark.parametrize("restarted", [True, False], ids=["agents start again", "agents go on"])
@pytest.mark.parametrize("age_s", [12.0, None], ids=["restored", "wiped"])
def test_a_store_of_the_past_is_not_believed(age_s: float | None, restarted: bool, mode: ReplicationMode) -> None:
    fleet = three(mode)
    simulation = Simulation(fleet, 1, jitter=0.0, write_every_s=0.2)
    schedule, sites = simulation.schedule, simulation.sites
    schedule.run_until(4.0)
    simulation.start_clients()
    schedule.run_until(8.0)
    simulation.store.keep_backup()
    sites[US].kill()
    schedule.run_until(14.0)
    sites[US].restart()
    schedule.run_until(24.0)
    before = checkers.topology(sites, fleet.app)
    assert before.epoch == 2, "one ordinary failover"
    simulation.store.restore(age_s)
    if restarted:
        for site in sites.values():
            site.kill_agent()
        for site in sites.values():
            site.restart_agent()
    schedule.run_until(schedule.now_s + SETTLED_S)
    simulation.stop_clients()
    schedule.run_until(schedule.now_s + 8.0)
    assert checkers.pending(sites, fleet.app) == []
    after = checkers.topology(sites, fleet.app)
    assert after.epoch > before.epoch + RECOVERY_EPOCHS
    assert after.primary is not None
    excused = simulation.application.promises.lax | simulation.application.losses.accepted
    checkers.check_loss(sites, fleet.app, after.primary, simulation.ledger, excused)
