"""Where users are sent who cannot be served where they are: never where nobody can serve them.

Capacity, as the agents know it, is whether a region has ready pods; how much each pod can take is for the
gateways and the autoscalers, and ``predict`` says beforehand whether it suffices.
"""

from collections.abc import Iterator

from leeward.core import timers
from leeward.core.values import Region
from leeward.sim.simulation import Simulation
from leeward.sim.violation import ViolationError

LOOK_EVERY_S = 0.5


class Shifts:
    """Checks that no region's users are sent to one without pods while another region could serve them."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        lasting = timers.derive(max(simulation.fleet.rtt_s.values()))
        self._patience_s = 2 * lasting.hold_down_s
        """What it may take to notice, and how long a region that has just come back is not trusted yet."""
        self._since_s: dict[tuple[Region, Region, Region], float] = {}

    def look(self) -> None:
        """Look at every gateway now, and again in a moment. Raises ViolationError."""
        schedule = self._simulation.schedule
        self._since_s = {each: self._since_s.get(each, schedule.now_s) for each in self._wrong()}
        for (source, to, better), since_s in self._since_s.items():
            if schedule.now_s - since_s > self._patience_s:
                raise ViolationError(
                    f"the gateway of {source} has sent its users to {to}, which has no pod, for "
                    f"{schedule.now_s - since_s:.1f} s, while {better} could serve them"
                )
        schedule.after(LOOK_EVERY_S, self.look)

    def _wrong(self) -> Iterator[tuple[Region, Region, Region]]:
        simulation = self._simulation
        informed = [region for region in simulation.fleet.data_regions if self._informed(region)]
        for source in informed:
            route = simulation.sites[source].routes.get(simulation.fleet.app)
            if simulation.sites[source].pods or route is None or not route.fallbacks:
                continue
            to = route.fallbacks[0]
            if to in informed and not simulation.sites[to].pods:
                for better in informed:
                    if simulation.sites[better].pods and self._near(source, better):
                        yield source, to, better

    def _informed(self, region: Region) -> bool:
        """Whether the others hear the region now, and it hears them."""
        site, member = self._simulation.sites[region], self._simulation.store.members[region]
        hears = not site.frozen and member.up and not member.stalled
        return hears and site.machine is not None and site.machine.serving(site.clock_s()).serving

    def _near(self, source: Region, other: Region) -> bool:
        """Whether the two can reach one another as well as ever."""
        network = self._simulation.network
        links = ((source, other), (other, source))
        return not any(network.is_cut(*link) or network.slow.get(link) for link in links)
