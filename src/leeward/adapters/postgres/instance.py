"""Everything one instance consists of, and the small acts on it that several roles share."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import structlog

from leeward.adapters.postgres import configuration
from leeward.adapters.postgres.configuration import Duty
from leeward.adapters.postgres.data import DataDirectory
from leeward.adapters.postgres.guard import Guard
from leeward.adapters.postgres.server import Server
from leeward.adapters.postgres.session import Observation, Session
from leeward.adapters.postgres.settings import ManagerSettings, slot_name
from leeward.adapters.postgres.state import State, save
from leeward.adapters.postgres.status import Progress, Publisher

POLL_S = 0.005
_EFFECTIVE_TIMEOUT_S = 5.0
# Longer than PostgreSQL takes to end its WAL receiver by itself.
_RECEIVER_ENDS_S = 0.05

log = structlog.get_logger("leeward.postgres")


class Instance:
    """One PostgreSQL with its files, guard, session and status. The reconcile loop is its only user."""

    def __init__(
        self,
        settings: ManagerSettings,
        state: State,
        guard: Guard,
        server: Server,
        data: DataDirectory,
        publisher: Publisher,
        *,
        isolated: bool,
        replication_password: str,
    ) -> None:
        self.settings = settings
        self.guard = guard
        self.server = server
        self.data = data
        self.session = Session(settings)
        self.progress = Progress()
        self.isolated = isolated
        self.replication_password = replication_password
        self.seen: Observation | None = None
        self.duty: Duty | None = None
        """What PostgreSQL is configured for; None while that is uncertain."""
        self.may_write = False
        """PostgreSQL is, or may any moment become, a primary: only its end makes this false again."""
        self._observed_at_s = 0.0
        self._state = state
        self._publisher = publisher
        self._log: Any = log.bind(region=settings.region, app=settings.app)

    @property
    def state(self) -> State:
        """What is remembered across restarts."""
        return self._state

    def remember(self, **changes: Any) -> None:
        """Change the persistent state; it is on disk when this returns."""
        changed = replace(self._state, **changes)
        if changed != self._state:
            save(self.settings.layout.state, changed)
            self._state = changed

    async def say(self, activity: str, *, settled: bool = False, problem: str | None = None) -> None:
        """Publish what is going on."""
        progress = self.progress
        if (activity, problem) != (progress.activity, progress.problem):
            self._log.info("activity", activity=activity, problem=problem, epoch=self._state.epoch)
        progress.activity, progress.settled, progress.problem = activity, settled, problem
        await self.publish()

    async def publish(self) -> None:
        """Publish the status as it is known now."""
        await self._publisher.publish(self._state, self.progress, self.seen, running=self.server.running)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Log how long something took, in seconds."""
        began_s = time.monotonic()
        outcome = "failed"
        try:
            yield
            outcome = "done"
        finally:
            took_s = round(time.monotonic() - began_s, 3)
            self._log.info("stage", stage=name, outcome=outcome, took_s=took_s, epoch=self._state.epoch)

    def start(self, duty: Duty) -> None:
        """Start PostgreSQL with this duty; ``observe`` tells when it answers."""
        self.duty = None
        configuration.write(self.settings, duty, self.replication_password)
        self.duty = duty
        self.remember(stopped_wal=None)
        self.server.start(self.settings.layout.data)

    async def observe(self) -> Observation | None:
        """Ask PostgreSQL for its state; None when it does not answer (yet)."""
        if not self.server.running:
            self.seen = None
            return None
        try:
            self.seen = await self.session.observe()
        except (psycopg.Error, OSError):
            self.seen = None
        self._observed_at_s = time.monotonic()
        return self.seen

    async def keep_fresh(self, period_s: float) -> None:
        """Observe and publish for ever, whenever nobody else did for so long."""
        while True:
            age_s = time.monotonic() - self._observed_at_s
            if self.server.running and age_s >= period_s:
                await self.observe()
                await self.publish()
                age_s = 0.0
            await asyncio.sleep(max(period_s - age_s, period_s / 4))

    def permit_writes(self) -> None:
        """Put PostgreSQL under the guard, before it can accept its first write."""
        self.may_write = True
        self.guard.watch(self.server.kill)

    def ended(self) -> None:
        """Take note that PostgreSQL does not run: nothing is left to guard."""
        self.may_write = False
        self.guard.release()
        self.seen = None

    async def adopt(self, duty: Duty) -> None:
        """Change the duty of a running PostgreSQL without a restart; effective when this returns."""
        if duty == self.duty:
            return
        # Interrupted half-way, nobody may believe that the old one is still in force.
        self.duty = None
        configuration.write(self.settings, duty, self.replication_password)
        self.server.signal(signal.SIGHUP)
        names = configuration.synchronous_names(duty.synchronous)
        conninfo = configuration.upstream_conninfo(self.settings, duty.upstream)
        async with asyncio.timeout(_EFFECTIVE_TIMEOUT_S):
            while True:
                rows = await self.session.query(
                    "SELECT current_setting('synchronous_standby_names'), current_setting('primary_conninfo')"
                )
                if rows == [(names, conninfo)]:
                    break
                await asyncio.sleep(POLL_S)
        self.duty = duty

    async def cut(self) -> Observation | None:
        """Disconnect from every upstream. When it returns a state, nobody receives or acknowledges any more.

        ``configuration.write`` has removed the password first, so a WAL receiver that is not visible yet
        cannot log in; those that are visible PostgreSQL ends itself, as a rule. One that waits, because the
        upstream's history goes on where ours does not, it would leave connected for ever.
        """
        await self.adopt(Duty())
        began_s = time.monotonic()
        async with asyncio.timeout(_EFFECTIVE_TIMEOUT_S):
            while True:
                seen = await self.observe()
                if seen is None or not seen.receivers:
                    return seen
                if time.monotonic() - began_s > _RECEIVER_ENDS_S:
                    self.server.end_receivers()
                await asyncio.sleep(POLL_S)

    async def provide_slots(self) -> None:
        """Have a physical slot for every other region; one that lost its WAL is made anew. Drops no other."""
        if self.seen is None:
            return
        have = {slot.name: slot for slot in self.seen.slots}
        for region in self.settings.upstreams:
            name = slot_name(region)
            slot = have.get(name)
            if slot is not None and slot.lost and not slot.active:
                await self.session.query("SELECT pg_drop_replication_slot(%s)", (name,))
                slot = None
            if slot is None:
                await self.session.query("SELECT pg_create_physical_replication_slot(%s)", (name,))

    async def end(self) -> None:
        """Kill PostgreSQL; from here on it acknowledges nothing."""
        await self.server.end()
        self.ended()
        await self.session.close()

    async def stop(self, *, timeout_s: float) -> None:
        """Stop PostgreSQL fast; standbys that answer get everything first."""
        await self.server.stop(timeout_s=timeout_s)
        self.ended()
        await self.session.close()
