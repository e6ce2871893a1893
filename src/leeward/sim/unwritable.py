"""A database that does not accept writes is given up, as long as another region could serve.

An outage whose cause lasts is no reason to stay where it is: while the primary's own region is heard, its database
stands still, and another replica is within reach, the topology must leave that primary within a bounded time.
"""

from leeward.core import failover
from leeward.core.values import FailoverPolicy, Phase, Region, Topology
from leeward.instance.machine.pace import WRITE_STALL_S
from leeward.sim.fault_injector import FaultInjector
from leeward.sim.region import Site
from leeward.sim.simulation import Simulation
from leeward.sim.violation import ViolationError

LOOK_EVERY_S = 0.25
SLACK_S = 4.0
"""What finding out, and a transaction on a slow store, may take beyond the wait."""


class Unwritable:
    """Looks four times a second at the primary of the topology in force."""

    def __init__(self, simulation: Simulation, injector: FaultInjector) -> None:
        self._simulation = simulation
        self._injector = injector
        fleet = simulation.fleet
        lease_s = simulation.sites[fleet.regions[0]].settings.timers.lease_s
        waits_s = max(failover.UNWRITABLE_LEASES * lease_s, fleet.patience.takeover_s)
        self.bound_s = WRITE_STALL_S + waits_s + SLACK_S
        """How long a primary may stay one without accepting writes."""
        self._about: object = None
        self._since_s = 0.0

    def look(self) -> None:
        """Look now, and again in a moment, until everything heals. Raises ViolationError."""
        simulation, schedule = self._simulation, self._simulation.schedule
        if self._injector.over:
            return
        topology = simulation.topology
        about = self._stuck(topology) if topology is not None else None
        if about is None or about != self._about:
            self._about, self._since_s = about, schedule.now_s
        elif topology is not None and schedule.now_s - self._since_s > self.bound_s:
            raise ViolationError(
                f"the database in {topology.primary} has not accepted writes for {schedule.now_s - self._since_s:.1f} "
                f"s, another region could serve, and it is not given up"
            )
        schedule.after(LOOK_EVERY_S, self.look)

    def _stuck(self, topology: Topology) -> object:
        """Return what stays the same while one agent has this to decide; None when there is nothing to give up."""
        simulation, primary = self._simulation, topology.primary
        decides = topology.phase in (Phase.STEADY, Phase.PROMOTING) and not topology.paused
        if primary is None or not decides or simulation.fleet.failover is not FailoverPolicy.AUTOMATIC:
            return None
        site = simulation.sites[primary]
        instance = site.instances[topology.app]
        accepts = instance.writable and not instance.postgres.hung
        if accepts or not self._heard(site):
            return None
        heirs = [region for region in topology.data_regions if region != primary and self._serves(primary, region)]
        return (topology.epoch, id(site.machine), heirs[0]) if heirs else None

    def _heard(self, site: Site) -> bool:
        """Whether the region's agent runs and reaches the quorum store without delay."""
        member = self._simulation.store.members[site.name]
        runs = not site.frozen and site.machine is not None and member.up and not member.stalled
        return runs and site.machine.serving(site.clock_s()).serving  # type: ignore[union-attr]

    def _serves(self, primary: Region, region: Region) -> bool:
        """Whether the region's replica could take over, and the primary's agent can know."""
        simulation, site = self._simulation, self._simulation.sites[region]
        instance, network = site.instances[simulation.fleet.app], simulation.network
        links = ((primary, region), (region, primary))
        near = not any(network.is_cut(*link) or network.slow.get(link) for link in links)
        return near and self._heard(site) and instance.process.running and instance.status().wal is not None
