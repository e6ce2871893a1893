"""Simulated users: they write through their region's gateway, retry under the same key, and remember."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from leeward.core.values import App, Region
from leeward.sim.network import Network
from leeward.sim.region import Site
from leeward.sim.schedule import Schedule

TIMEOUT_S = 1.0
RETRY_S = 0.05
TRIES = 5
HANDLING_S = 0.003


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A write that a client was told is done."""

    key: str
    epoch: int
    lsn: int
    by: Region
    sent_at_s: float
    committed_at_s: float
    """When the database acknowledged it."""
    waking: bool = False
    """Its machine, kernel and all, had stood still until a moment before."""


@dataclass(slots=True)
class Ledger:
    """What every client saw."""

    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
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
        self._try(f"{self._home}-{self._number}", 0)

    def _try(self, key: str, tried: int) -> None:
        if tried >= TRIES:
            self._ledger.unknown.add(key)
            self._schedule.after(self._every_s, self._next)
            return
        self._ledger.attempts += 1
        entry = self._sites[self._nearest[tried % len(self._nearest)]]
        sent_at_s = self._schedule.now_s
        over = False

        def again() -> None:
            nonlocal over
            if not over:
                over = True
                self._schedule.after(RETRY_S, self._try, key, tried + 1)

        def done(found: Acknowledged) -> None:
            nonlocal over
            if not over:
                over = True
                self._ledger.acknowledged[key] = found
                self._schedule.after(self._every_s, self._next)

        def at_database(region: Region) -> None:
            instance = self._sites[region].instances[self._app]

            def acknowledged(epoch: int, lsn: int) -> None:
                found = Acknowledged(key, epoch, lsn, region, sent_at_s, self._schedule.now_s, instance.waking)
                self._seen(found)
                self._network.send(region, entry.name, done, found)

            refused = partial(self._network.send, region, entry.name, again)
            instance.process.receive(instance.postgres.write, key, acknowledged, refused)

        route = entry.routes.get(self._app)
        if entry.dead or entry.frozen or route is None or route.primary is None:
            self._schedule.after(RETRY_S, again)
        else:
            self._network.send(entry.name, route.primary, at_database, route.primary)
        self._schedule.after(TIMEOUT_S, again)
