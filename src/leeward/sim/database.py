"""A simulated instance manager: it makes its PostgreSQL what the order says, under the lease it was fed.

What it does follows ``leeward.adapters.postgres``, step for step as far as it matters: a newer order interrupts
the step under way, a deposed primary is killed, a standby that diverged saves its orphans and rewinds, a
rewind cut short leaves no usable copy, and the kernel ends PostgreSQL when the lease does, frozen or not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from leeward.core.values import App, InstanceStatus, Order, Orphans, Region, Role, Sender, WalPosition
from leeward.sim.network import Network
from leeward.sim.postgres import Greeting, Postgres
from leeward.sim.process import Process
from leeward.sim.schedule import Schedule

START_S = (0.1, 0.25)
PROMOTE_S = (0.03, 0.08)
CHECKPOINT_S = (0.02, 0.06)
STOP_S = (0.03, 0.12)
STOP_TIMEOUT_S = 15.0
STOP_CALLED_OFF_S = (0.0, 0.5)
"""What is left of a stop that is called off, before PostgreSQL is killed to start again."""
ADOPT_S = (0.01, 0.03)
REWIND_S = (0.4, 1.0)
# What comparing histories takes, after a standby did not stream for as long as one is patient with it.
COMPARE_S = (0.05, 1.2)
RETRY_S = 0.3
CONNECT_TIMEOUT_S = 3.0
POLL_S = 0.02
REPORT_S = 0.25
# How late the guard's thread kills, and how late the kernel does when the thread stands still.
GUARD_S = (0.001, 0.02)
BACKSTOP_S = (0.01, 0.04)
RESTART_S = (0.5, 1.5)


@dataclass(frozen=True, slots=True)
class Lease:
    """Permission to write until ``until_s`` of the region's boot clock."""

    epoch: int
    until_s: float


class Instance:
    """One region's instance manager and its PostgreSQL: they live and die together."""

    def __init__(
        self,
        region: Region,
        app: App,
        schedule: Schedule,
        network: Network,
        chance: Random,
        peers: dict[Region, Postgres],
        *,
        clock: Callable[[], float],
        virtual: Callable[[float], float],
        changed: Callable[[], None],
    ) -> None:
        self.region = region
        self.app = app
        self.process = Process(schedule)
        self.postgres = peers[region] = Postgres(
            region, network, self.process, peers, changed=changed, greeted=self._greeted, hung_up=self._hung_up
        )
        self.epoch = 0
        self.order: Order | None = None
        self.lease: Lease | None = None
        self.orphans: list[tuple[int, list[str]]] = []
        self.suspended = False
        """The machine stands still, its kernel too."""
        self.held = False
        """Nothing here restarts containers: the region is dead or stands still."""
        self._schedule = schedule
        self._chance = chance
        self._peers = peers
        self._clock = clock
        self._virtual = virtual
        self._changed = changed
        self._settled = False
        self._proved_epoch = 0
        self._promoting = False
        self._stopped_at: WalPosition | None = None
        self._led_epoch: int | None = None
        """The epoch it led last; None: it never did since it last took another's history."""
        self._lead_on_start = False
        self._incomplete = False
        self._problem: str | None = None
        self._step_number = 0
        self._busy = False
        self._connecting: Region | None = None
        self._attempt = 0
        self._resumed_at_s = float("-inf")
        self._armed = 0
        self._reported = -1
        self.process.after(REPORT_S, self._report_progress)

    # -- what the agent sees and asks -------------------------------------------------------------

    def leased(self, epoch: int) -> bool:
        """Whether a primary of the epoch may write now, by the region's own clock."""
        return self.lease is not None and self.lease.epoch == epoch and self._clock() < self.lease.until_s

    @property
    def writable(self) -> bool:
        """Whether it reports that it accepts writes."""
        order, server = self.order, self.postgres
        obeys = order is not None and order.role is Role.PRIMARY and server.epoch == order.epoch
        return self.process.running and obeys and server.role is Role.PRIMARY and self.leased(self.epoch)

    @property
    def calm(self) -> bool:
        """Whether it has done what its order says, and has nothing under way or to complain of."""
        order, server = self.order, self.postgres
        if order is None or not self.process.running or not self._settled or self._busy or self._problem is not None:
            return False
        return self.writable if order.role is Role.PRIMARY else server.upstream == order.upstream

    def status(self) -> InstanceStatus:
        """Return what the instance manager answers now."""
        server = self.postgres
        running = server.role is not Role.STOPPED
        wal = server.history.position if running else self._stopped_at
        return InstanceStatus(
            clock_s=self._clock(),
            incarnation=str(self.process.life),
            epoch=self.epoch,
            role=server.role,
            order=self.order,
            settled=self._settled,
            activity="running" if self._settled else "converging",
            writable=self.writable,
            proved=self.order is not None and self._proved_epoch == self.order.epoch,
            wal=None if self._incomplete else wal,
            replayed_lsn=len(server.history) if running else None,
            upstream=server.upstream,
            senders=tuple(
                Sender(region, one.streaming, one.flushed, one.flushed, self._is_synchronous(region))
                for region, one in server.receivers.items()
                if one.flushed is not None
            ),
            lease_until_s=None if self.lease is None else self.lease.until_s,
            problem=self._problem,
            orphans=tuple(Orphans(epoch, len(keys), len(keys), "") for epoch, keys in self.orphans),
        )

    def _is_synchronous(self, region: Region) -> bool:
        synchronous = self.postgres.synchronous
        return synchronous is not None and region in synchronous.members

    def accept(self, order: Order) -> bool:
        """Take an order; False when a newer epoch was accepted before."""
        if order.epoch < self.epoch:
            return False
        if order == self.order:
            return True
        self.epoch, self.order = order.epoch, order
        self._settled, self._problem = False, None
        self._step_number += 1
        self._busy = False
        if self._promoting:
            self._promoting = False
            self.postgres.end()
        self._converge()
        return True

    def feed(self, epoch: int, until_s: float) -> bool:
        """Extend the lease; False when a newer epoch was accepted."""
        if epoch < self.epoch:
            return False
        held = self.lease
        if held is None or epoch > held.epoch or (epoch == held.epoch and until_s > held.until_s):
            self.lease = Lease(epoch, until_s)
            self.arm()
        if not self.writable:
            self._converge()
        return True

    # -- the guard --------------------------------------------------------------------------------

    @property
    def _may_write(self) -> bool:
        return self.postgres.role is Role.PRIMARY or self._promoting

    def arm(self) -> None:
        """Set the kernel's timer to the end of the lease."""
        self._armed += 1
        until_s = self.lease.until_s if self.lease is not None else 0.0
        self._schedule.at(self._virtual(until_s), self._lease_over, self._armed)

    def _lease_over(self, armed: int) -> None:
        if armed != self._armed or not self._may_write or self.suspended:
            return
        late = BACKSTOP_S if self.process.frozen else GUARD_S
        self._schedule.after(self._chance.uniform(*late), self._guard_kills, armed)

    def _guard_kills(self, armed: int) -> None:
        if armed != self._armed or not self._may_write or self.suspended:
            return
        if self.process.frozen:
            # The kernel's timer ends the manager, and with it PostgreSQL; its container is restarted.
            self.kill()
            self.restart_soon()
            return
        self._end()
        self._changed()
        self._converge()

    @property
    def waking(self) -> bool:
        """Whether the kernel's timers may not have fired yet after the machine stood still."""
        return self._schedule.now_s - self._resumed_at_s <= BACKSTOP_S[1]

    def resume(self) -> None:
        """The machine goes on: timers that were due fire within moments."""
        self.suspended = False
        self._resumed_at_s = self._schedule.now_s
        self.arm()

    # -- converging -------------------------------------------------------------------------------

    def _converge(self) -> None:
        """Take the next step towards the order."""
        order, server = self.order, self.postgres
        if order is None or self._busy or not self.process.running:
            return
        if server.closing and order.role is not Role.STOPPED:
            self._step(STOP_CALLED_OFF_S, self._end)
            return
        match order.role:
            case Role.STOPPED:
                self._stop()
            case Role.DETACHED:
                if self._in_recovery() and not self._settled:
                    self._step(ADOPT_S, self._cut)
            case Role.STANDBY:
                if self._incomplete and order.upstream is not None:
                    self._step(REWIND_S, self._rewound, order.upstream)
                elif self._in_recovery():
                    self._follow(order)
            case Role.PRIMARY:
                if server.role is Role.PRIMARY:
                    self._lead(order)
                elif self._incomplete:
                    self._fail("no complete copy of the data here")
                elif server.role is Role.STOPPED and not self._lead_on_start:
                    self._step(START_S, server.start_in_recovery)
                elif self.leased(order.epoch):
                    self._promoting = True
                    self._step(START_S if self._lead_on_start else PROMOTE_S, self._promoted, order)

    def _step(self, takes_s: tuple[float, float], done: Callable[..., None], *arguments: object) -> None:
        self._busy = True
        self._step_number += 1
        self.process.after(self._chance.uniform(*takes_s), self._step_done, self._step_number, done, arguments)

    def _step_done(self, number: int, done: Callable[..., None], arguments: tuple[object, ...]) -> None:
        if number != self._step_number:
            return
        self._busy = False
        done(*arguments)
        self._changed()
        self._converge()

    def _fail(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._changed()

    def _end(self) -> None:
        self.postgres.end()
        self._promoting = False
        self._connecting = None
        self._stopped_at = None
        self._step_number += 1
        self._busy = False
        self._settled = False

    def _in_recovery(self) -> bool:
        """Bring PostgreSQL up in recovery; False: not yet. A primary is killed."""
        server = self.postgres
        if self._incomplete:
            self._fail("no complete copy of the data here")
            return False
        if self._may_write:
            self._end()
        if server.role is Role.STOPPED:
            self._lead_on_start = False
            self._stopped_at = None
            self._step(START_S, server.start_in_recovery)
            return False
        return True

    def _cut(self) -> None:
        self.postgres.disconnect()
        self.postgres.role = Role.DETACHED
        self._connecting = None
        self._settled = True

    def _stop(self) -> None:
        server = self.postgres
        if server.role is Role.STOPPED:
            if not self._settled:
                self._settled = True
                self._changed()
        elif server.role is Role.PRIMARY:
            self._step(CHECKPOINT_S, self._close)
        else:
            self._step(STOP_S, self._stopped)

    def _close(self) -> None:
        self.postgres.close()
        self._step(STOP_S, self._drain, self._schedule.now_s + STOP_TIMEOUT_S)

    def _drain(self, give_up_at_s: float) -> None:
        if not self.postgres.sent_out and self._schedule.now_s < give_up_at_s:
            self._step((POLL_S, POLL_S), self._drain, give_up_at_s)
        else:
            self._stopped()

    def _stopped(self) -> None:
        position = self.postgres.history.position
        self._end()
        self._stopped_at = position

    # -- following --------------------------------------------------------------------------------

    def _follow(self, order: Order) -> None:
        server = self.postgres
        if order.upstream is None or server.upstream == order.upstream:
            if not self._settled:
                self._settled = True
                self._changed()
        elif self._connecting != order.upstream:
            self._connecting = order.upstream
            server.role = Role.STANDBY
            server.connect(order.upstream)
            self._attempt += 1
            self.process.after(CONNECT_TIMEOUT_S, self._connect_anew, self._attempt)

    def _connect_anew(self, attempt: int) -> None:
        if attempt == self._attempt and self._connecting is not None:
            self._connecting = None
            self._converge()

    def _greeted(self, upstream: Region, greeting: Greeting) -> None:
        self._connecting = None
        order = self.order
        if order is None or order.role is not Role.STANDBY or order.upstream != upstream:
            return
        match greeting:
            case Greeting.WELCOME:
                self._problem = None
                self._settled = True
                self._changed()
            case Greeting.DIVERGED:
                self._settled = False
                self._changed()
                self._step(COMPARE_S, self._compare, upstream)
            case Greeting.BEHIND | Greeting.REFUSED:
                self._step((RETRY_S, RETRY_S), self._retry)

    def _retry(self) -> None:
        """Converge again; the step's end does."""

    def _hung_up(self) -> None:
        self._settled = False
        self._connecting = None
        self._changed()
        self._converge()

    def _compare(self, upstream: Region) -> None:
        """Leave our history if it forked off, and otherwise connect again."""
        source, history = self._peers[upstream], self.postgres.history
        common = history.common_with(source.history)
        if source.reachable_from(self.region) and common < min(len(history), len(source.history)):
            self._leave_history(upstream)

    def _leave_history(self, upstream: Region) -> None:
        """Save what only we have, then take the upstream's history."""
        history = self.postgres.history
        common = history.common_with(self._peers[upstream].history)
        lost = [record.key for record in history.records[common:] if record.key is not None]
        # With a later primary's record after them, its own writes are part of the history that everybody shares.
        if self._led_epoch is not None and self._led_epoch >= history.position.epoch and lost:
            self.orphans.append((self._led_epoch, lost))
        self._end()
        self._incomplete = True
        self._step(REWIND_S, self._rewound, upstream)

    def _rewound(self, upstream: Region) -> None:
        source = self._peers[upstream]
        if not source.reachable_from(self.region):
            self._fail(f"cannot rewind to {upstream}")
            self._step((RETRY_S, RETRY_S), self._retry)
            return
        history = self.postgres.history
        history.cut_at(history.common_with(source.history))
        self._incomplete = False
        self._problem = None
        self._led_epoch = None
        self._lead_on_start = False

    # -- leading ----------------------------------------------------------------------------------

    def _promoted(self, order: Order) -> None:
        self._promoting = False
        if not self.leased(order.epoch):
            self._end()
            return
        self._led_epoch = order.epoch
        self._lead_on_start = True
        self.postgres.enforce(order.synchronous)
        self._prove(order.epoch)

    def _prove(self, epoch: int) -> None:
        self.postgres.lead(epoch, lambda: self._proved(epoch))

    def _proved(self, epoch: int) -> None:
        self._proved_epoch = epoch
        self._settled = self.order is not None and self.order.synchronous == self.postgres.synchronous
        self._changed()

    def _lead(self, order: Order) -> None:
        server = self.postgres
        if server.synchronous != order.synchronous:
            self._step(ADOPT_S, server.enforce, order.synchronous)
        elif server.epoch != order.epoch:
            if self.leased(order.epoch):
                self._led_epoch = order.epoch
                self._prove(order.epoch)
        elif not self._settled and self._proved_epoch == order.epoch:
            self._settled = True
            self._changed()

    # -- faults -----------------------------------------------------------------------------------

    def kill(self) -> None:
        """The processes die; the disk stays."""
        self.process.kill()
        self._end()
        self.lease = None
        self._proved_epoch = 0
        self._armed += 1

    def restart(self) -> None:
        """The instance manager comes back and goes on with its last order."""
        if self.held:
            self.restart_soon()
        elif not self.process.alive:
            self.process.start()
            self._reported = -1
            self.process.after(REPORT_S, self._report_progress)
            self._converge()
            self._changed()

    def restart_soon(self) -> None:
        """Its container is restarted, as soon as anybody there can."""
        self._schedule.after(self._chance.uniform(*RESTART_S), self.restart)

    def crash_database(self) -> None:
        """PostgreSQL dies, the instance manager does not."""
        if self.process.alive:
            self._end()
            self._step((POLL_S, POLL_S), self._retry)
            self._changed()

    def _report_progress(self) -> None:
        self.process.after(REPORT_S, self._report_progress)
        if len(self.postgres.history) != self._reported:
            self._reported = len(self.postgres.history)
            self._changed()
