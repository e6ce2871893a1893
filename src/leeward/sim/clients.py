"""Simulated users: they write through their region's gateway, retry under the same key, and remember.

Their writes go to the pods beside the primary, or to pods that stand in for those, and write over the WAN.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from leeward.core.fast_frozen import fast_frozen
from leeward.core.values import App, Region, Role
from leeward.sim.database import Instance
from leeward.sim.network import Network
from leeward.sim.region import Site
from leeward.sim.schedule import Schedule

TIMEOUT_S = 1.0
RETRY_S = 0.05
TRIES = 5
READ_EVERY = 4


@fast_frozen
@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A write that was acknowledged to its client."""

    key: str
    epoch: int
    lsn: int
    by: Region
    sent_at_s: float
    committed_at_s: float
    """When the database acknowledged it."""
    waking: bool = False
    """Its machine, kernel and all, had stood still until a moment before."""
    waived: bool = False
    """The database's owner had set that commits wait for nothing."""


@dataclass(frozen=True, slots=True)
class Misread:
    """An acknowledged write that a primary did not have when it was read there."""

    key: str
    by: Region
    at_s: float


@dataclass(slots=True)
class Ledger:
    """What every client saw."""

    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    misread: list[Misread] = field(default_factory=list)
    attempts: int = 0


class Client:
    """Users near one region, one write at a time."""

    def __init__(
        self,
        home: Region,
        app: App,
        schedule: Schedule,
        network: Network,
        chance: Random,
        sites: dict[Region, Site],
        nearest: tuple[Region, ...],
        ledger: Ledger,
        seen: Callable[[Acknowledged], None],
        *,
        every_s: float,
    ) -> None:
        self._home = home
        self._app = app
        self._schedule = schedule
        self._network = network
        self._chance = chance
        self._sites = sites
        self._nearest = nearest
        self._ledger = ledger
        self._seen = seen
        self._every_s = every_s
        self._number = 0
        self._stopped = False
        self._newest: str | None = None
        self.calm = True
        """Its last try was a first one: nothing it wrote is in doubt."""

    def start(self) -> None:
        """Begin to write."""
        self._schedule.after(self._chance.random() * self._every_s, self._next)

    def stop(self) -> None:
        """Write nothing new."""
        self._stopped = True

    def _next(self) -> None:
        if self._stopped:
            return
        self._number += 1
        if self._number % READ_EVERY == 0:
            self._read()
        self._try(f"{self._home}-{self._number}", 0)

    def _read(self) -> None:
        """Ask the primary for what it acknowledged last."""
        key, route = self._newest, self._sites[self._home].routes.get(self._app)
        if key is None or route is None or route.primary is None:
            return

        def at_database(region: Region) -> None:
            instance = self._sites[region].instances[self._app]
            instance.process.receive(look, instance)

        def look(instance: Instance) -> None:
            server = instance.postgres
            leads = server.role is Role.PRIMARY and not server.closing and not instance.waking
            if leads and not server.history.holds(key):
                self._ledger.misread.append(Misread(key, instance.region, self._schedule.now_s))

        self._network.send(self._home, route.primary, at_database, route.primary)

    def _try(self, key: str, tried: int) -> None:
        self.calm = tried == 0
        if tried >= TRIES:
            self._ledger.unknown.add(key)
            self._schedule.after(self._every_s, self._next)
            return
        self._ledger.attempts += 1
        _Try(self, key, tried).begin()


class _Try:
    """One try of a write: to the pods, from there to the database, and back. Only the first answer counts."""

    def __init__(self, client: Client, key: str, tried: int) -> None:
        self._client = client
        self._key = key
        self._tried = tried
        self._app, self._network, self._sites = client._app, client._network, client._sites
        self._entry = self._sites[client._nearest[tried % len(client._nearest)]]
        self._sent_at_s = client._schedule.now_s
        self._over = False

    def begin(self) -> None:
        """Send the write to where the entry's gateway sends writes, if there is such a place; give it up in time."""
        entry, schedule = self._entry, self._client._schedule
        route = entry.routes.get(self._app)
        if entry.dead or entry.frozen or route is None or route.writers is None:
            schedule.after(RETRY_S, self._again)
        else:
            database = None if route.stand_in is not None else route.primary
            self._network.send_as_request(entry.name, route.writers, self._at_pods, route.writers, database)
        schedule.after(TIMEOUT_S, self._again)

    def _again(self) -> None:
        """The write was refused, or there was no answer in time: try again under the same key."""
        if not self._over:
            self._over = True
            self._client._schedule.after(RETRY_S, self._client._try, self._key, self._tried + 1)

    def _done(self, found: Acknowledged) -> None:
        """The write is acknowledged to the client."""
        client = self._client
        if not self._over:
            self._over = True
            client._ledger.acknowledged[self._key] = found
            client._newest = self._key
            client._schedule.after(client._every_s, client._next)

    def _at_pods(self, region: Region, database: Region | None) -> None:
        """``database`` is None where pods stand in: they write to the primary that their own gateway knows."""
        site = self._sites[region]
        if database is None:
            here = site.routes.get(self._app)
            stands_in = here is not None and here.writers == region
            database = here.primary if here is not None and stands_in else None
        if not site.pods or database is None:
            self._network.send(region, self._entry.name, self._again)
        elif database == region:
            self._at_database(region, region)
        else:
            self._network.send(region, database, self._at_database, region, database)

    def _at_database(self, pods: Region, region: Region) -> None:
        instance = self._sites[region].instances[self._app]
        acknowledged = partial(self._acknowledged, pods, instance)
        refused = partial(self._answer, pods, region, self._again)
        instance.process.receive(instance.postgres.write, self._key, acknowledged, refused)

    def _acknowledged(self, pods: Region, instance: Instance, epoch: int, lsn: int, waived: bool) -> None:
        region, now_s = instance.region, self._client._schedule.now_s
        found = Acknowledged(self._key, epoch, lsn, region, self._sent_at_s, now_s, instance.waking, waived)
        self._client._seen(found)
        self._answer(pods, region, self._done, found)

    def _answer(self, pods: Region, region: Region, what: Callable[..., None], *arguments: Acknowledged) -> None:
        """Send an answer back the way that the write came."""
        network, entry = self._network, self._entry.name
        if pods == region:
            network.send(region, entry, what, *arguments)
        else:
            network.send(region, pods, network.send, pods, entry, what, *arguments)
