"""Where users are: served near where they are, by pods that are ready, and never sent where no pod can serve them.

Reads stay where they are as long as a pod is ready there; writes go to the pods beside the primary, as long as one is.
Otherwise both go to other regions' pods, and the primary stays where it is. Capacity, as the agents know it, is
whether a region has ready pods; how much each pod can take is for the gateways and the autoscalers, and ``predict``
says beforehand whether it suffices.
"""

from collections.abc import Iterator

from leeward.core import timers
from leeward.core.values import Region
from leeward.ports.gateway import Route
from leeward.sim.simulation import Simulation
from leeward.sim.violation import ViolationError

LOOK_EVERY_S = 0.5
AT_HOME = "are served where they are"


class UserPlacement:
    """Checks that no user is sent to a region without pods while another could serve, and notes who is sent where."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        lasting = timers.derive(max(simulation.fleet.rtt_s.values()))
        self._patience_s = 2 * lasting.hold_down_s
        """What it may take to notice, and how long a region that has just come back is not trusted yet."""
        self._since_s: dict[tuple[Region, str, Region, Region], float] = {}
        self._reported: dict[Region, str] = {}

    def look(self) -> None:
        """Look at every gateway now, and again in a moment. Raises ViolationError."""
        schedule = self._simulation.schedule
        self._since_s = {each: self._since_s.get(each, schedule.now_s) for each in self._wrong()}
        for (source, what, to, better), since_s in self._since_s.items():
            if schedule.now_s - since_s > self._patience_s:
                raise ViolationError(
                    f"the gateway of {source} has sent {what} to {to}, which has no pod, for "
                    f"{schedule.now_s - since_s:.1f} s, while {better} could serve them"
                )
        self._report()
        schedule.after(LOOK_EVERY_S, self.look)

    def _report(self) -> None:
        """Note where users are sent when it changes."""
        for source in self._simulation.fleet.data_regions:
            route = self._simulation.sites[source].routes.get(self._simulation.fleet.app)
            if route is None or route.primary is None or not self._informed(source):
                continue
            where = self._where(source, route)
            if where != self._reported.get(source, AT_HOME):
                self._reported[source] = where
                self._simulation.note(f"users of {source} {where}")

    def _where(self, source: Region, route: Route) -> str:
        reads = self._reads(source, route)
        parts = [] if reads == source else [f"read from {reads or 'no region'}"]
        if route.stand_in is not None:
            parts.append(f"write to {route.primary} through the pods of {route.stand_in}")
        return " and ".join(parts) or AT_HOME

    def _reads(self, source: Region, route: Route) -> Region | None:
        if self._simulation.sites[source].pods:
            return source
        return route.fallbacks[0] if route.fallbacks else None

    def _wrong(self) -> Iterator[tuple[Region, str, Region, Region]]:
        simulation = self._simulation
        # Who joins or leaves has pods, and users of its own; those of others are sent to data regions only.
        in_force = simulation.topology.data_regions if simulation.topology is not None else ()
        informed = [
            region for region in in_force if region in simulation.application.placement and self._informed(region)
        ]
        for source in informed:
            route = simulation.sites[source].routes.get(simulation.fleet.app)
            if route is None:
                continue
            for what, to in (("its users", self._reads(source, route)), ("writes", route.writers)):
                if to is None or to not in informed or simulation.sites[to].pods:
                    continue
                for better in informed:
                    if simulation.sites[better].pods and self._near(source, better):
                        yield source, what, to, better

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
