"""One simulated fleet under one seed: the shipped machines in virtual time, with clients and checkers."""

from collections.abc import Callable
from random import Random

from leeward.agent.machine import Machine
from leeward.core import keys
from leeward.core.codec import decode
from leeward.core.values import Region, Topology
from leeward.ports.quorum import Change
from leeward.sim import checkers
from leeward.sim.checkers import Writers
from leeward.sim.clients import Acknowledged, Client, Ledger
from leeward.sim.database import Instance
from leeward.sim.fleet import DRIFT_MAX, Fleet
from leeward.sim.network import Network
from leeward.sim.postgres import Postgres
from leeward.sim.region import MachineFactory, Site
from leeward.sim.schedule import Schedule
from leeward.sim.store import Store


class Simulation:
    """A fleet, its clients and its weather."""

    def __init__(
        self,
        fleet: Fleet,
        seed: int,
        *,
        jitter: float = 0.1,
        loss: float = 0.0,
        duplication: float = 0.0,
        write_every_s: float = 0.1,
        make: MachineFactory = Machine,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.fleet = fleet
        self.chance = Random(seed)
        self.schedule = Schedule()
        one_way_s = {(a, b): fleet.rtt_s[frozenset((a, b))] / 2 for a in fleet.regions for b in fleet.regions if a != b}
        self.network = Network(self.schedule, self.chance, one_way_s, jitter=jitter, loss=loss, duplication=duplication)
        self.store = Store(self.schedule, self.network, self.chance, fleet.regions)
        self.sites: dict[Region, Site] = {}
        self.ledger = Ledger()
        self.writers = Writers()
        self.acknowledgements: list[Acknowledged] = []
        self.on_topology: Callable[[Topology], None] = lambda topology: None
        """Called with every topology that is committed."""
        self._topology_key = keys.topology("simulated", fleet.app)
        self.store.on_commit = self._committed
        self.skipped_s = 0.0
        """How much of the plan's time was left out, because nothing could have happened in it."""
        self.told = 0
        """How many decisions were told, and faults noted."""
        self._trace = trace
        self._write_every_s = write_every_s
        servers: dict[Region, Postgres] = {}
        for region in fleet.regions:
            self.sites[region] = Site(
                fleet.settings(region),
                self.schedule,
                self.network,
                self.store,
                self.chance,
                self.sites,
                make=make,
                drift=self.chance.uniform(-DRIFT_MAX, DRIFT_MAX),
                tell=self._tell,
            )
        for region in fleet.data_regions:
            self.sites[region].instances[fleet.app] = Instance(
                region,
                fleet.app,
                self.schedule,
                self.network,
                self.chance,
                servers,
                clock=self.sites[region].clock_s,
                virtual=self.sites[region].virtual_s,
                changed=lambda region=region: self.sites[region].instance_changed(fleet.app),  # type: ignore[misc]
            )
        self.clients = [self._client(region) for region in fleet.data_regions]
        for site in self.sites.values():
            site.boot()

    def _client(self, home: Region) -> Client:
        nearest = sorted(
            self.fleet.data_regions,
            key=lambda region: 0.0 if region == home else self.fleet.rtt_s[frozenset((home, region))],
        )
        return Client(
            home,
            self.fleet.app,
            self.schedule,
            self.network,
            self.chance,
            self.sites,
            tuple(nearest),
            self.ledger,
            self._acknowledged,
            every_s=self._write_every_s,
        )

    def _committed(self, change: Change) -> None:
        value = change.entries.get(self._topology_key)
        if value is not None:
            topology = decode(Topology, value)
            checkers.check_deposed(self.sites, topology)
            self.on_topology(topology)

    def _acknowledged(self, found: Acknowledged) -> None:
        self.acknowledgements.append(found)
        self.writers.saw(found)
        checkers.check_replicated(self.sites, self.fleet.app, found)

    @property
    def represented_s(self) -> float:
        """The time as the plan counts it: what was lived through and what was left out."""
        return self.schedule.now_s + self.skipped_s

    def _tell(self, region: Region, because: str) -> None:
        self.told += 1
        if self._trace is not None:
            self._trace(f"{self.represented_s:9.3f} s  {region:<14} {because}")

    def note(self, what: str) -> None:
        """Put a fault into the trace."""
        self.told += 1
        if self._trace is not None:
            self._trace(f"{self.represented_s:9.3f} s  {'*':<14} {what}")

    def start_clients(self) -> None:
        """Let every client write."""
        for client in self.clients:
            client.start()

    def stop_clients(self) -> None:
        """Let no client write anything new."""
        for client in self.clients:
            client.stop()
