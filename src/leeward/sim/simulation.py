"""One simulated fleet under one seed: the shipped machines in virtual time, with clients and checkers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random

from leeward.agent.machine import Machine
from leeward.core import timers
from leeward.core.settings import AgentSettings, AppSettings, RegionSettings
from leeward.core.values import App, Region, ReplicationMode
from leeward.sim.checkers import Writers
from leeward.sim.clients import Acknowledged, Client, Ledger
from leeward.sim.database import Instance
from leeward.sim.network import Network
from leeward.sim.postgres import Postgres
from leeward.sim.region import MachineFactory, Site
from leeward.sim.schedule import Schedule
from leeward.sim.store import Store

# What the protocol's margin covers: two clocks that differ by no more than this over a lease.
DRIFT_MAX = timers.DRIFT_BOUND / 2


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is simulated: regions, which of them are witnesses, their round trips, and the application."""

    regions: tuple[Region, ...]
    witnesses: frozenset[Region]
    rtt_s: Mapping[frozenset[Region], float]
    app: App
    mode: ReplicationMode
    rto_s: float
    rpo_s: float

    @property
    def data_regions(self) -> tuple[Region, ...]:
        """Regions that have a replica."""
        return tuple(region for region in self.regions if region not in self.witnesses)

    def settings(self, me: Region) -> AgentSettings:
        """Return what the agent of one region is told."""
        holds = me in self.data_regions
        app = AppSettings(
            name=self.app,
            namespace=self.app,
            data_regions=self.data_regions,
            mode=self.mode,
            rto_s=self.rto_s,
            rpo_s=self.rpo_s,
            instance_url="simulated" if holds else None,
            instance_host="simulated" if holds else None,
            instance_port=5432,
        )
        return AgentSettings(
            fleet="simulated",
            region=me,
            regions=tuple(
                RegionSettings(
                    name=region,
                    witness=region in self.witnesses,
                    agent_url="",
                    gateway_host="",
                    gateway_port=0,
                    egress_port=0,
                    rtt_s=0.0 if region == me else self.rtt_s[frozenset((me, region))],
                )
                for region in self.regions
            ),
            timers=timers.derive(max(self.rtt_s.values())),
            apps=(app,),
            quorum_url="",
            cluster_url="",
            cluster_token_file="",
            identity_dir="",
            gateway_dir="",
            gateway_host="",
            listen_host="",
            listen_port=0,
        )


class Simulation:
    """A fleet, its clients and its weather."""

    def __init__(
        self,
        fleet: Fleet,
        seed: int,
        *,
        jitter: float = 0.1,
        loss: float = 0.0,
        make: MachineFactory = Machine,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.fleet = fleet
        self.chance = Random(seed)
        self.schedule = Schedule()
        one_way_s = {(a, b): fleet.rtt_s[frozenset((a, b))] / 2 for a in fleet.regions for b in fleet.regions if a != b}
        self.network = Network(self.schedule, self.chance, one_way_s, jitter=jitter, loss=loss)
        self.store = Store(self.schedule, self.network, self.chance, fleet.regions)
        self.sites: dict[Region, Site] = {}
        self.ledger = Ledger()
        self.writers = Writers()
        self.acknowledgements: list[Acknowledged] = []
        self._trace = trace
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
        )

    def _acknowledged(self, found: Acknowledged) -> None:
        self.acknowledgements.append(found)
        self.writers.saw(found)

    def _tell(self, region: Region, because: str) -> None:
        if self._trace is not None:
            self._trace(f"{self.schedule.now_s:9.3f} s  {region:<14} {because}")

    def note(self, what: str) -> None:
        """Put a fault into the trace."""
        if self._trace is not None:
            self._trace(f"{self.schedule.now_s:9.3f} s  {'*':<14} {what}")

    def start_clients(self) -> None:
        """Let every client write."""
        for client in self.clients:
            client.start()

    def stop_clients(self) -> None:
        """Let no client write anything new."""
        for client in self.clients:
            client.stop()


THREE = Fleet(
    regions=(Region("us"), Region("eu"), Region("ap")),
    witnesses=frozenset(),
    rtt_s={
        frozenset((Region("us"), Region("eu"))): 0.08,
        frozenset((Region("us"), Region("ap"))): 0.15,
        frozenset((Region("eu"), Region("ap"))): 0.20,
    },
    app=App("payments"),
    mode=ReplicationMode.ASYNC,
    rto_s=5.0,
    rpo_s=5.0,
)


def three(mode: ReplicationMode) -> Fleet:
    """Return the three regions of the examples, replicating as asked."""
    return replace(THREE, mode=mode)
