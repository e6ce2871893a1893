"""Long quiet stretches, left out: once a world is at rest, the next fault may as well come at once.

Why that is sound. The clock never jumps, and nothing inside the world is touched: only the weather comes earlier.
So the run is an ordinary run of a plan with other times, and whatever it breaks, the protocol breaks. And nothing is
missed, because a world at rest repeats itself. No decision depends on what time it is, only on how long ago
something happened: a heartbeat seen, a topology changed, a region's health lost or regained. At rest the first
renews itself several times a second, and the others have gone by: the longest that anything remembers is a
region's hold-down and its ramp, and a world counts as settled only after it has been at rest, with not one
noted decision, for longer than those. What grows for ever (sequence numbers, WAL, clocks) is only ever compared with
itself. Whole seconds are left out, so that a fault hits the same moment between two heartbeats as often as before.

What is at rest is judged here from the world's truth, strictly: a world that cannot come to rest, because a
region lacks a usable copy or a promise of sync cannot be given, is lived through second by second.
"""

from leeward.agent.machine import relevance
from leeward.agent.machine.machine import Machine
from leeward.core import routing, timers
from leeward.sim.fault_injector import FaultInjector
from leeward.sim.simulation import Simulation

LOOK_S = 1.0
"""How often to look whether the world is at rest."""
NOTICE_S = 2.0
"""How long before the next fault time runs as usual again."""


class Quiet:
    """Watches a simulation for rest, and skips to the next fault once nothing is left to wait for."""

    def __init__(self, simulation: Simulation, injector: FaultInjector) -> None:
        lasting = timers.derive(max(simulation.fleet.rtt_s.values()))
        self.settling_s = lasting.hold_down_s + lasting.ramp_s + 2 * lasting.lease_s
        """How long a world must have been at rest to be settled."""
        self._simulation = simulation
        self._injector = injector
        self._noted = -1
        self._since_s = 0.0

    def pass_until(self, represented_s: float) -> None:
        """Let time pass until then, as the plan counts it, without the stretches in which nothing can happen."""
        simulation, schedule = self._simulation, self._simulation.schedule
        while (left_s := represented_s - simulation.represented_s) > 0:
            schedule.run_until(schedule.now_s + min(left_s, LOOK_S))
            if not self._settled():
                continue
            until_s = min(represented_s, self._injector.next_at_s) - NOTICE_S
            idle_s = int(until_s - simulation.represented_s)
            if idle_s > 0:
                self._injector.skip_ahead(idle_s)

    def _settled(self) -> bool:
        """Whether the world has been at rest for long enough, and nothing has been decided meanwhile."""
        simulation = self._simulation
        if simulation.noted != self._noted or not at_rest(simulation, self._injector):
            self._noted, self._since_s = simulation.noted, simulation.schedule.now_s
        return simulation.schedule.now_s - self._since_s >= self.settling_s


def at_rest(simulation: Simulation, injector: FaultInjector) -> bool:
    """Whether nothing is wrong, nothing is under way, and everything is where it should be, at this moment."""
    return (
        injector.calm
        and simulation.network.calm
        and simulation.store.calm
        and all(client.calm for client in simulation.clients)
        and all(
            site.calm and site.machine is not None and _undisturbed(site.machine, site.clock_s())
            for site in simulation.sites.values()
        )
    )


def _undisturbed(machine: Machine, now_s: float) -> bool:
    """Whether an agent sees nothing to do, no region to doubt and no traffic to give back."""
    lasting = machine.timers
    return (
        relevance.quiet(machine.store, machine.me, machine.lease_until_s, now_s, lasting)
        and all(vantage.serving for vantage in machine.vantages.values())
        and all(routing.share(health, now_s, lasting) == 1.0 for health in machine.health.values())
        and all(
            app.proposing is None and app.promising is None and app.ordering is None and app.silent_since_s is None
            for app in machine.apps.values()
        )
    )
