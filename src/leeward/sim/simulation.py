"""One simulated fleet under one seed: the shipped machines in virtual time, with clients and checkers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from leeward.agent.machine.machine import Machine
from leeward.core.settings import AgentSettings
from leeward.core.values import Promise, Region, Topology
from leeward.ports.quorum import Change
from leeward.sim.application import Application
from leeward.sim.clients import Acknowledged, Client, Ledger
from leeward.sim.database import Instance
from leeward.sim.fleet import DRIFT_MAX, Fleet, settings
from leeward.sim.network import Network
from leeward.sim.postgres import Postgres
from leeward.sim.region import MachineFactory, Site
from leeward.sim.schedule import Schedule
from leeward.sim.store import Store

# Within so long every region's agent has read changed files, and has started again.
ROLLOUT_S = (0.0, 3.0)


CLOCKS_APART_S = 300.0
"""An instance's boot clock shows something else than its agent's, by as much as this."""


@dataclass(frozen=True, slots=True)
class Offset:
    """The boot clock of a region's instance: it runs as its agent's does, and began at another time."""

    site: Site
    ahead_s: float

    def clock_s(self) -> float:
        """Read the clock."""
        return self.site.clock_s() + self.ahead_s

    def virtual_s(self, clock_s: float) -> float:
        """Return when it shows ``clock_s``."""
        return self.site.virtual_s(clock_s - self.ahead_s)


class Simulation:
    """A fleet, its clients and its weather.

    The fleet's application is the one that faults are aimed at; ``beside`` it the agents may look after another one.
    """

    def __init__(
        self,
        fleet: Fleet,
        seed: int,
        *,
        beside: Fleet | None = None,
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
        self.application = Application(fleet, self.sites)
        fleets = (fleet,) if beside is None else (fleet, beside)
        self.applications = (self.application, *(Application(each, self.sites) for each in fleets[1:]))
        self.store.on_commit = self._committed
        self.store.on_restore = self._restored
        self.skipped_s = 0.0
        """How much of the plan's time was left out, because nothing could have happened in it."""
        self.noted = 0
        """How many decisions and faults were noted."""
        self._trace = trace
        self._write_every_s = write_every_s
        for region in fleet.regions:
            self.sites[region] = Site(
                self._settings(region),
                self.schedule,
                self.network,
                self.store,
                self.chance,
                self.sites,
                make=make,
                drift=self.chance.uniform(-DRIFT_MAX, DRIFT_MAX),
                note=self._note,
                promised=self._promised,
            )
        for application in self.applications:
            self._add_instances(application, seed)
            application.clients = [self._client(application, region) for region in application.fleet.data_regions]
        for site in self.sites.values():
            site.boot()

    def _add_instances(self, application: Application, seed: int) -> None:
        app = application.app
        servers: dict[Region, Postgres] = {}
        instances: dict[Region, Instance] = {}
        named = "" if application is self.application else f" of {app}"
        for region in application.fleet.hosts:
            began_s = Random(f"{seed}: clock of {region}{named}").uniform(-CLOCKS_APART_S, CLOCKS_APART_S)
            clock = Offset(self.sites[region], began_s)
            self.sites[region].instances[app] = Instance(
                region,
                app,
                self.schedule,
                self.network,
                self.chance,
                instances,
                servers,
                clock=clock.clock_s,
                virtual=clock.virtual_s,
                changed=lambda region=region: self.sites[region].instance_changed(app),  # type: ignore[misc]
            )

    def _client(self, application: Application, home: Region) -> Client:
        nearest = sorted(
            application.fleet.data_regions,
            key=lambda region: 0.0 if region == home else self.fleet.rtt_s[frozenset((home, region))],
        )
        return Client(
            home,
            application.app,
            self.schedule,
            self.network,
            self.chance,
            self.sites,
            tuple(nearest),
            application.ledger,
            application.acknowledged,
            every_s=self._write_every_s,
        )

    def _committed(self, change: Change, replaced: Mapping[str, str]) -> None:
        for application in self.applications:
            application.committed(change, replaced)

    def _restored(self) -> None:
        for application in self.applications:
            application.promises.forget()

    def _promised(self, promise: Promise) -> None:
        (application,) = (each for each in self.applications if each.app == promise.app)
        application.promises.promised(promise)

    @property
    def ledger(self) -> Ledger:
        """What the clients of the fleet's application saw."""
        return self.application.ledger

    @property
    def acknowledgements(self) -> list[Acknowledged]:
        """Every write that its database acknowledged."""
        return self.application.acknowledgements

    @property
    def topology(self) -> Topology | None:
        """Its topology in force."""
        return self.application.topology

    @property
    def clients(self) -> list[Client]:
        """The clients of every application."""
        return [client for application in self.applications for client in application.clients]

    @property
    def represented_s(self) -> float:
        """The time as the plan counts it: what was lived through and what was left out."""
        return self.schedule.now_s + self.skipped_s

    def _note(self, region: Region, because: str) -> None:
        self.noted += 1
        if self._trace is not None:
            self._trace(f"{self.represented_s:9.3f} s  {region:<14} {because}")

    def note(self, what: str) -> None:
        """Put a fault into the trace."""
        self.noted += 1
        if self._trace is not None:
            self._trace(f"{self.represented_s:9.3f} s  {'*':<14} {what}")

    def place(self, data_regions: tuple[Region, ...]) -> None:
        """Change what the files name; each agent reads them some time later, when it starts again."""
        self.application.placement = data_regions
        for region in self.fleet.regions:
            self.schedule.after(self.chance.uniform(*ROLLOUT_S), self._configure, region)

    def _configure(self, region: Region) -> None:
        self.sites[region].configure(self._settings(region))

    def _settings(self, region: Region) -> AgentSettings:
        return settings(region, [(each.fleet, each.placement) for each in self.applications])

    def start_clients(self) -> None:
        """Let every client write."""
        for client in self.clients:
            client.start()

    def stop_clients(self) -> None:
        """Let no client write anything new."""
        for client in self.clients:
            client.stop()
