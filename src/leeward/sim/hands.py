"""Performs the instance machine's steps on a simulated PostgreSQL, each in the time it takes, or not at all."""

from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING

from leeward.core.values import Region, Role
from leeward.instance.machine import steps as do
from leeward.instance.machine.lineage import Lineage
from leeward.instance.machine.values import Duty
from leeward.sim.network import Network
from leeward.sim.violation import ViolationError

if TYPE_CHECKING:
    from leeward.sim.database import Instance

TAKES_S: Mapping[type[do.Step], tuple[float, float]] = {
    do.Initialise: (0.5, 1.0),
    do.Start: (0.1, 0.25),
    do.Kill: (0.001, 0.005),
    do.Stop: (0.03, 0.12),
    do.Checkpoint: (0.02, 0.06),
    do.Promote: (0.03, 0.08),
    do.Configure: (0.01, 0.03),
    do.Cut: (0.01, 0.03),
    do.CloseAdmission: (0.01, 0.06),
    do.FreeReplay: (0.01, 0.05),
    do.ProvideSlots: (0.01, 0.05),
    do.ReadEnd: (0.01, 0.05),
    do.KeepData: (0.01, 0.05),
    do.SetAside: (0.01, 0.05),
    do.SaveOrphans: (0.05, 0.3),
    do.Rewind: (0.4, 1.0),
    do.Copy: (0.3, 1.5),
}
"""How long each step takes, from least to most; what asks other regions takes round trips."""
POLL_S = 0.02
FAILS = 0.6
"""Which share of the steps fail while they do."""

FALLIBLE = (do.Initialise, do.Start, do.Rewind, do.Copy, do.SaveOrphans)
WRITING = (do.Initialise, do.Promote, do.Rewind, do.Copy, do.SaveOrphans, do.KeepData, do.SetAside)
"""What cannot end while the disk takes nothing, and fails while it is full."""

Ended = Callable[..., None]


class Hands:
    """What the instance manager's process does to its disk and its PostgreSQL. The disk outlives the process."""

    def __init__(
        self, instance: "Instance", peers: Mapping[Region, "Instance"], network: Network, chance: Random
    ) -> None:
        self.has_data = False
        self.recovery_signal = False
        self.starting = False
        """PostgreSQL's processes exist and do not answer yet."""
        self.duty: Duty | None = None
        self.closed = False
        """The application has no session, and gets none."""
        self.torn = False
        """A rewind has begun: unless it ends, the data is good for nothing but to be replaced."""
        self.unchanged = False
        """The last rewind ended before it changed anything, and the process lived to see it."""
        self.system = ""
        """The identifier of the database on the disk."""
        self.failing = 0
        """How many things make steps that touch the disk, or another region's, fail."""
        self.extra_s = 0.0
        """What such a step takes beyond the usual."""
        self.full = 0
        """How many things leave no room on the volume."""
        self.dies = False
        """The process dies at the next step."""
        self._instance = instance
        self._peers = peers
        self._network = network
        self._chance = chance
        self._databases = 0
        self._step = 0
        self._transfers = False
        """A rewind or a copy is under way."""
        self._changes = False
        """The rewind under way has begun to change the data."""

    def ended(self) -> None:
        """PostgreSQL has ended."""
        self.starting = self._transfers = False
        self._step += 1

    def interrupted(self) -> None:
        """What transfers data is ended when something else is ordered."""
        if self._transfers:
            self._step += 1
            self._leave_unchanged()

    def perform(self, step: do.Step, ended: Ended, arguments: tuple[object, ...]) -> None:
        """Perform a step; ``ended`` gets the arguments, the step and its outcome, unless the process dies before."""
        self._step += 1
        self._transfers = isinstance(step, do.Rewind | do.Copy)

        def finish(outcome: do.Outcome) -> None:
            self._transfers = False
            if not self._strikes():
                ended(*arguments, step, outcome)

        process = self._instance.process
        if self._strikes():
            return
        takes_s = self._chance.uniform(*self._begin(step))
        if isinstance(step, FALLIBLE):
            takes_s += self.extra_s
        if self.dies:
            process.after(takes_s * self._chance.random(), self._interrupt)
        if isinstance(step, do.Rewind):
            process.after(takes_s / 2, self._change, self._step, step)
        process.after(takes_s, self._finish, self._step, step, finish)

    def _change(self, number: int, step: do.Rewind) -> None:
        """A rewind has compared everything, and begins to change the data, if the upstream is there to be read."""
        self._changes = number == self._step and self._reachable(step.upstream)

    def _leave_unchanged(self) -> None:
        if self.torn and not self._changes:
            self.torn, self.unchanged = False, True

    def _interrupt(self) -> None:
        """The process may die in the middle of a step."""
        self._strikes()

    def _strikes(self) -> bool:
        """Whether the process dies here, which it does at every second opportunity."""
        if not self.dies or self._chance.random() < 0.5:
            return False
        self.dies = False
        self._instance.die()
        return True

    def lose_disk(self) -> None:
        """The volume is empty."""
        self.has_data, self.recovery_signal, self.torn, self.system = False, False, False, ""
        self._instance.postgres.lose_disk()

    def _begin(self, step: do.Step) -> tuple[float, float]:
        """Do what has an effect at once; return how long the rest takes."""
        match step:
            case do.Start(duty=duty, recovery=recovery):
                if recovery:
                    self.recovery_signal = True
                self.duty, self.starting = duty, True
            case do.Stop():
                self._instance.postgres.close()
            case do.Configure() | do.Cut():
                self.closed = self.closed and isinstance(step, do.Configure) and not step.duty.admits
                self.duty = None
            case do.Rewind():
                self.torn, self.unchanged, self._changes = True, False, False
            case do.AskNeighbours():
                return self._round_trip_s(*self._peers)
            case do.Compare(upstream=upstream):
                return self._round_trip_s(upstream)
        return TAKES_S[type(step)]

    def _round_trip_s(self, *regions: Region) -> tuple[float, float]:
        me, delay_s = self._instance.region, self._network.delay_s
        trips = [delay_s(me, region) + delay_s(region, me) for region in regions if region != me]
        longest_s = max(trips, default=0.0)
        return (2 * longest_s + 0.01, 4 * longest_s + 0.05)

    def _finish(self, number: int, step: do.Step, finish: Callable[[do.Outcome], None]) -> None:
        instance = self._instance
        if number != self._step:
            return
        if instance.postgres.hung and isinstance(step, WRITING):
            instance.process.after(POLL_S, self._finish, number, step, finish)
            return
        problem = self._problem_with(step)
        if problem is not None:
            self._fail(step)
            finish(do.Failed(problem))
        elif isinstance(step, do.Stop):
            self._drain(number, step, finish, step.timeout_s)
        else:
            finish(self._do(step))

    def _problem_with(self, step: do.Step) -> str | None:
        """Return why a step fails; None: it does not."""
        if self.full and isinstance(step, (*WRITING, do.Start)):
            return "no space left on device"
        if self.failing and isinstance(step, FALLIBLE) and self._chance.random() < FAILS:
            return f"{type(step).__name__} failed"
        return None

    def _do(self, step: do.Step) -> do.Outcome:
        """Do what a step does to the database and its disk when it ends; return its outcome."""
        instance, server = self._instance, self._instance.postgres
        match step:
            case do.Initialise():
                self._initialise()
            case do.Start(duty=duty):
                if self.torn:
                    raise ViolationError(f"{self._me} starts PostgreSQL on data that a rewind has left half changed")
                self.starting = False
                server.start(recovery=self.recovery_signal)
                server.admits, self.closed = duty.admits, not duty.admits
                self._configure(duty)
            case do.Kill():
                instance.database_ended()
            case do.Configure(duty=duty) | do.Cut(duty=duty):
                self._configure(duty)
            case do.CloseAdmission():
                server.admits, self.closed = False, True
            case do.Promote():
                server.promote()
                self.recovery_signal = False
            case do.KeepData(epoch=epoch):
                self._keep(epoch)
            case _:
                return self._answer(step)
        return do.Done()

    def _keep(self, epoch: int | None) -> None:
        """Move the data to the orphans."""
        records = self._instance.postgres.history.records
        self._instance.orphans.append((epoch or 0, [record.key for record in records if record.key is not None]))
        self.has_data = False

    def _fail(self, step: do.Step) -> None:
        """Leave behind what such a failure does."""
        if isinstance(step, do.Start):
            self.starting, self.duty = False, None
        if isinstance(step, do.Rewind):
            self._leave_unchanged()

    def _answer(self, step: do.Step) -> do.Outcome:
        match step:
            case do.AskNeighbours():
                others = (region for region in sorted(self._peers) if region != self._me)
                return do.NeighboursAnswered(tuple((region, self._has_data(region)) for region in others))
            case do.Compare(upstream=upstream):
                return self._compare(upstream)
            case do.SaveOrphans():
                return self._save_orphans(step)
            case do.Rewind(upstream=upstream):
                return self._rewind(upstream)
            case do.Copy(upstream=upstream):
                return self._copy(upstream)
            case do.SetAside():
                self._keep(None)
                return do.Kept("")
            case do.ReadEnd():
                return do.EndRead(len(self._instance.postgres.history))
            case _:
                return do.Done()

    @property
    def _me(self) -> Region:
        return self._instance.region

    def _initialise(self) -> None:
        self._databases += 1
        self.system = f"{self._me}-{self._databases}"
        self._instance.postgres.history.cut_at(0)
        self.has_data, self.recovery_signal = True, False

    def _configure(self, duty: Duty) -> None:
        server = self._instance.postgres
        server.enforce(duty.synchronous)
        if server.role is not Role.PRIMARY and server.follows != duty.upstream:
            server.follow(duty.upstream)
        if duty.admits:
            server.admits = True
        self.duty = duty

    def _drain(self, number: int, step: do.Step, finish: Callable[[do.Outcome], None], left_s: float) -> None:
        if number != self._step:
            return
        if not self._instance.postgres.sent_out and left_s > 0:
            self._instance.process.after(POLL_S, self._drain, number, step, finish, left_s - POLL_S)
            return
        self._instance.database_ended()
        finish(do.Done())

    def _reachable(self, region: Region) -> bool:
        return self._peers[region].postgres.reachable_from(self._me)

    def _has_data(self, region: Region) -> bool | None:
        peer = self._peers[region]
        if self._network.is_cut(self._me, region) or self._network.is_cut(region, self._me) or peer.process.frozen:
            return None
        return peer.process.alive and peer.postgres.role is not Role.STOPPED

    def _lineage(self, instance: "Instance") -> Lineage:
        server = instance.postgres
        return Lineage(
            system=instance.hands.system,
            segments=server.history.segments,
            epochs=server.history.epochs,
            in_recovery=server.role is not Role.PRIMARY,
            replayed_lsn=len(server.history),
        )

    def _compare(self, upstream: Region) -> do.Outcome:
        if not self._instance.postgres.answers or not self._reachable(upstream):
            return do.Failed(f"{upstream} does not answer")
        return do.Compared(self._lineage(self._instance), self._lineage(self._peers[upstream]))

    def _save_orphans(self, step: do.SaveOrphans) -> do.Outcome:
        history = self._instance.postgres.history
        lost = [record.key for record in history.records[step.fork_lsn :] if record.key is not None]
        if lost:
            self._instance.orphans.append((step.epoch, lost))
        return do.OrphansSaved(len(lost))

    def _rewind(self, upstream: Region) -> do.Outcome:
        if not self._changes or not self._reachable(upstream):
            self._leave_unchanged()
            return do.Failed(f"cannot rewind to {upstream}")
        server, source = self._instance.postgres, self._peers[upstream].postgres
        common = server.history.common_with(source.history)
        server.history.cut_at(common)
        server.consistent_lsn = len(source.history)
        self.torn, self.recovery_signal = False, True
        return do.Copied(common)

    def _copy(self, upstream: Region) -> do.Outcome:
        if not self._reachable(upstream):
            return do.Failed(f"cannot copy from {upstream}")
        server, source = self._instance.postgres, self._peers[upstream].postgres
        server.without_wal.discard(upstream)
        server.history.copy_of(source.history, len(source.history))
        server.consistent_lsn = len(source.history)
        self.has_data, self.recovery_signal, self.torn = True, True, False
        self.system = self._peers[upstream].hands.system
        return do.Copied(len(source.history))
