"""Everything one instance consists of, and the small operations on it that several roles share."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, LiteralString

import psycopg
import structlog

from leeward.core.values import Orphans, Region
from leeward.instance.guard import Guard
from leeward.instance.machine.values import Duty, Memory, Observation, State
from leeward.instance.postgres import configuration
from leeward.instance.postgres.connection import EarlierLayoutError
from leeward.instance.postgres.data import DataDirectory
from leeward.instance.postgres.server import CommandError, Server
from leeward.instance.postgres.session import Session
from leeward.instance.settings import ManagerSettings, slot_name
from leeward.instance.state import save
from leeward.instance.status import Progress, Publisher
from leeward.instance.walrelay.proxy import WalProxy

POLL_S = 0.005
_EFFECTIVE_TIMEOUT_S = 5.0
_SESSIONS_END_S = 1.0
# Longer than PostgreSQL takes to end its WAL receiver by itself.
_RECEIVER_ENDS_S = 0.05

_END_READERS: LiteralString = """
SELECT pg_catalog.pg_terminate_backend(a.pid)
  FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
 WHERE a.backend_type = 'client backend' AND a.xact_start IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid()
   AND NOT r.rolsuper
"""

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
        walrelay: WalProxy,
        *,
        incarnation: str,
        isolated: bool,
        replication_password: str,
    ) -> None:
        self.settings = settings
        self.guard = guard
        self.server = server
        self.data = data
        self.session = Session(settings)
        self.walrelay = walrelay
        self.memory = Memory()
        self.activity = "idle"
        self.orphans: tuple[Orphans, ...] = ()
        self.incarnation = incarnation
        self.isolated = isolated
        self.replication_password = replication_password
        self.seen: Observation | None = None
        self.duty: Duty | None = None
        """What PostgreSQL is configured for; None while that is uncertain."""
        self.admits = False
        """PostgreSQL lets the application log in: its rules are in force, not only decided."""
        self.may_write = False
        """PostgreSQL is, or may any moment become, a primary: only its end makes this false again."""
        self.closed = False
        """The application has no session, and gets none."""
        self._observed_at_s = 0.0
        self._settled = False
        self._problem: str | None = None
        self._state = state
        self._publisher = publisher
        self._log: Any = log.bind(region=settings.region, app=settings.app)

    @property
    def state(self) -> State:
        """What is remembered across restarts."""
        return self._state

    def remember(self, state: State) -> None:
        """Make this the persistent state; it is on disk when this returns."""
        if state != self._state:
            save(self.settings.layout.state, state)
            self._state = state

    async def report(self, activity: str, *, settled: bool = False, problem: str | None = None) -> None:
        """Log and publish the current activity."""
        if (activity, problem) != (self.activity, self._problem):
            self._log.info("activity", activity=activity, problem=problem, epoch=self._state.epoch)
        self.activity, self._settled, self._problem = activity, settled, problem
        await self.publish()

    async def publish(self) -> None:
        """Publish the status as it is known now."""
        progress = Progress(
            activity=self.activity,
            settled=self._settled and self.memory.settled,
            problem=self._problem,
            proved_epoch=self.memory.proved_epoch,
            admitted_epoch=self.memory.admitted_epoch if self.admits and not self.memory.stalled else None,
            orphans=self.orphans,
            rejoined=self.memory.rejoined,
            has_data=self.data.exists,
        )
        upstream = self.upstream_of(self.seen)
        await self._publisher.publish(self._state, progress, self.seen, upstream, running=self.server.running)

    def upstream_of(self, seen: Observation | None) -> Region | None:
        """Return which region WAL arrives from: that PostgreSQL is connected to one proves nothing yet."""
        region = None if seen is None else self._publisher.upstream_of(seen)
        return region if region is not None and self.walrelay.streams_from(region) else None

    def streams_from(self, seen: Observation | None) -> Region | None:
        """Return which region WAL arrives from, also while PostgreSQL is not consistent and answers no query."""
        if seen is not None or self.duty is None or not self.server.running:
            return self.upstream_of(seen)
        upstream = self.duty.upstream
        return upstream if upstream is not None and self.walrelay.streams_from(upstream) else None

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
        """Start PostgreSQL with this duty; ``observe`` shows when it answers."""
        self.duty = None
        configuration.write(self.settings, duty, self.replication_password)
        self.duty = duty
        self.admits = duty.admits
        self.closed = not duty.admits
        self.server.start(self.settings.layout.data)

    async def observe(self) -> Observation | None:
        """Ask PostgreSQL for its state; None when it does not answer (yet). Raises EarlierLayoutError."""
        if not self.server.running:
            self.seen = None
            return None
        try:
            self.seen = await self.session.observe()
        except EarlierLayoutError:
            self.seen = None
            raise
        except (psycopg.Error, OSError):
            self.seen = None
        self._observed_at_s = time.monotonic()
        return self.seen

    async def keep_fresh(self, period_s: float) -> None:
        """Observe and publish for ever, whenever that has not happened for this long."""
        while True:
            age_s = time.monotonic() - self._observed_at_s
            if self.server.running and age_s >= period_s:
                with suppress(EarlierLayoutError):  # the loop reports it
                    await self.observe()
                await self.publish()
                age_s = 0.0
            await asyncio.sleep(max(period_s - age_s, period_s / 4))

    def permit_writes(self) -> None:
        """Put PostgreSQL under the guard, before it can accept its first write."""
        self.may_write = True
        self.guard.watch(self.server.kill)

    def ended(self) -> None:
        """Record that PostgreSQL is not running: nothing is left to guard."""
        self.may_write = False
        self.guard.release()
        self.seen = None

    async def adopt(self, duty: Duty) -> None:
        """Change the duty of a running PostgreSQL without a restart; effective when this returns."""
        if duty == self.duty:
            return
        opens = duty.admits and (self.duty is None or not self.duty.admits)
        # Interrupted half-way, neither the old one nor the new one may be relied on.
        self.duty = None
        self.closed = self.closed and not duty.admits
        self.admits = self.admits and duty.admits
        configuration.write(self.settings, duty, self.replication_password)
        self.server.signal(signal.SIGHUP)
        names = configuration.synchronous_names(duty.synchronous)
        conninfo = configuration.upstream_conninfo(self.settings, duty.upstream)
        async with asyncio.timeout(_EFFECTIVE_TIMEOUT_S):
            while True:
                rows = await self.session.query(
                    "SELECT pg_catalog.current_setting('synchronous_standby_names'),"
                    " pg_catalog.current_setting('primary_conninfo')"
                )
                # The postmaster has its sessions reload before it loads pg_hba.conf itself.
                if rows == [(names, conninfo)] and not (opens and await self.session.owner_is_rejected()):
                    break
                await asyncio.sleep(POLL_S)
        self.duty, self.admits = duty, duty.admits

    async def close_admission(self) -> None:
        """End every session of the application, once no new one can begin. The duty must not admit it.

        The postmaster loads pg_hba.conf itself, and a login that is rejected shows that it has. Whatever it forked
        before has the old rules, also what has not sent a word yet and is in no view, so its children are listed.
        Raises CommandError when a session does not end.
        """
        async with asyncio.timeout(_EFFECTIVE_TIMEOUT_S):
            while True:
                if await self.session.owner_is_rejected():
                    break
                await asyncio.sleep(POLL_S)
        began_s = time.monotonic()
        while True:
            ours = await self.session.own_processes()
            if not self.server.end_others(ours):
                break
            if time.monotonic() - began_s > _SESSIONS_END_S:
                raise CommandError("the application's sessions did not end")
            await asyncio.sleep(POLL_S)
        self.closed = True

    async def cut(self, duty: Duty) -> Observation | None:
        """Disconnect from every upstream. When it returns a state, no WAL is received or acknowledged any more.

        ``configuration.write`` has removed the password first, so a WAL receiver that is not visible yet
        cannot log in; those that are visible PostgreSQL ends itself, as a rule. One that waits, because the
        upstream's history goes on where ours does not, it would leave connected for ever.
        """
        await self.adopt(duty)
        began_s = time.monotonic()
        async with asyncio.timeout(_EFFECTIVE_TIMEOUT_S):
            while True:
                seen = await self.observe()
                if seen is None or not seen.receivers:
                    return seen
                if time.monotonic() - began_s > _RECEIVER_ENDS_S:
                    self.server.end_receivers()
                await asyncio.sleep(POLL_S)

    async def free_replay(self) -> None:
        """End the sessions that block replay. For an instance that is cut or promoted, after ``adopt``.

        ``max_standby_*_delay`` is zero then, but the startup process, while it waits for a session, reads no new
        setting. From the next conflict on PostgreSQL cancels readers by itself.
        """
        if self.seen is not None and self.seen.replay_blocked:
            ended = await self.session.query(_END_READERS)
            self._log.info("ended sessions that blocked replay", sessions=len(ended), epoch=self._state.epoch)

    def missing_slots(self, seen: Observation) -> tuple[Region, ...]:
        """Return the other replicas without a slot here that keeps their WAL, or could if they connected.

        On a primary a slot has to keep WAL from the start. One that was created in recovery does not: it would keep
        what its region gets from elsewhere.
        """
        have = {
            slot.name for slot in seen.slots if slot.active or (not slot.lost and (slot.reserves or seen.in_recovery))
        }
        return tuple(region for region in self._replicas() if slot_name(region) not in have)

    def stale_slots(self, seen: Observation) -> tuple[str, ...]:
        """Return the slots of regions that have no replica any more. The manager drops no other slots."""
        kept = {slot_name(region) for region in self._replicas()}
        known = {slot_name(region) for region in (*self.settings.upstreams, *self._state.upstreams)}
        return tuple(slot.name for slot in seen.slots if slot.name in known - kept and not slot.active)

    def _replicas(self) -> list[Region]:
        order = self._state.order
        named = None if order is None else order.replicas
        return sorted(region for region in self.settings.upstreams if named is None or region in named)

    async def provide_slots(self, regions: tuple[Region, ...], stale: tuple[str, ...]) -> None:
        """Create a physical slot for each region, in place of one that does not keep its WAL; drop the stale ones."""
        seen = self.seen
        have = set() if seen is None else {slot.name for slot in seen.slots}
        for name in (*(slot_name(region) for region in regions if slot_name(region) in have), *stale):
            await self.session.query("SELECT pg_catalog.pg_drop_replication_slot(%s)", (name,))
        reserve = seen is not None and not seen.in_recovery
        for region in regions:
            await self.session.query(
                "SELECT pg_catalog.pg_create_physical_replication_slot(%s, %s)", (slot_name(region), reserve)
            )

    async def end(self) -> None:
        """Kill PostgreSQL; from then on it acknowledges nothing."""
        await self.server.end()
        self.ended()
        await self.session.close()

    async def stop(self, *, timeout_s: float) -> None:
        """Stop PostgreSQL fast; standbys that answer get everything first."""
        await self.server.stop(timeout_s=timeout_s)
        self.ended()
        await self.session.close()
