"""A simulated instance manager: the shipped machine, in virtual time, with a simulated PostgreSQL to act on.

It observes, decides and steps as ``leeward.instance`` does. What lives in memory dies with the process; the
state and the data are on disk. The kernel ends PostgreSQL when the lease does, frozen or not.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from leeward.core.values import App, Basis, InstanceStatus, Order, Region, Role
from leeward.instance.machine.acceptance import StaleOrderError, accept, check
from leeward.instance.machine.decide import decide
from leeward.instance.machine.outcomes import learn
from leeward.instance.machine.steps import Decision, Failed, Outcome, Step
from leeward.instance.machine.values import Memory, State
from leeward.sim.guard import Guard
from leeward.sim.hands import Hands
from leeward.sim.network import Network
from leeward.sim.observing import situation, status
from leeward.sim.postgres import Postgres
from leeward.sim.process import Process
from leeward.sim.proving import Proving
from leeward.sim.schedule import Schedule

# How often a settled instance looks at its PostgreSQL, and reports how far it is.
LOOK_S = 0.25
RETRY_S = 0.5
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
        peers: dict[Region, "Instance"],
        servers: dict[Region, Postgres],
        *,
        clock: Callable[[], float],
        virtual: Callable[[float], float],
        changed: Callable[[], None],
    ) -> None:
        self.region = region
        self.app = app
        self.process = Process(schedule)
        self.postgres = servers[region] = Postgres(
            region, network, self.process, servers, chance=chance, changed=self._server_changed
        )
        peers[region] = self
        self.state = State()
        self.memory = Memory()
        self.lease: Lease | None = None
        self.orphans: list[tuple[int, list[str]]] = []
        self.destroyed: Counter[str] = Counter()
        """How often a write was on a disk here that was lost, in the data or as an orphan."""
        self.destroyed_epochs: set[int] = set()
        """Epochs with a record on a disk here that was lost."""
        self.suspended = False
        """The machine stands still, its kernel too."""
        self.held = False
        """No pod runner here restarts containers: the region is dead or stands still."""
        self.may_write = False
        self._schedule = schedule
        self._chance = chance
        self.peers = peers
        self.clock = clock
        self._changed = changed
        self.hands = Hands(self, peers, network, chance)
        self.guard = Guard(self, schedule, chance, virtual)
        self._proving = Proving(self, chance)
        self.problem: str | None = None
        self.activity = ""
        self._looks = 0
        self._busy = False
        self._reported = (-1, False)
        self.process.after(0.0, self._look_again, self._looks)

    # -- what the agent sees and asks -------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The highest epoch accepted."""
        return self.state.epoch

    @property
    def incarnation(self) -> str:
        """Which life of the instance manager this is."""
        return str(self.process.life)

    @property
    def order(self) -> Order | None:
        """The order in force."""
        return self.state.order

    def recorded(self, epoch: int) -> bool:
        """Whether a record of the epoch is on the disk here, or was on one that was lost."""
        return epoch in self.postgres.history.epochs or epoch in self.destroyed_epochs

    def leased(self, epoch: int) -> bool:
        """Whether a primary of the epoch may write now, by the region's own clock."""
        return self.lease is not None and self.lease.epoch == epoch and self.clock() < self.lease.until_s

    @property
    def writable(self) -> bool:
        """Whether it reports that it accepts writes."""
        order, server = self.state.order, self.postgres
        obeys = order is not None and order.role is Role.PRIMARY and self.state.writable_epoch == order.epoch
        admitted = self.memory.admitted_epoch == self.epoch and not self.memory.stalled
        return self.process.running and obeys and admitted and server.role is Role.PRIMARY and self.leased(self.epoch)

    @property
    def calm(self) -> bool:
        """Whether it has done what its order says, and has nothing under way or to complain of."""
        order, server = self.state.order, self.postgres
        if order is None or not self.process.running or self._busy or self.problem is not None:
            return False
        if not self.memory.settled:
            return False
        return self.writable if order.role is Role.PRIMARY else server.upstream == order.upstream

    def status(self) -> InstanceStatus:
        """Return what the instance manager answers now."""
        return status(self)

    @property
    def waking(self) -> bool:
        """Whether the kernel's timers may not have fired yet after the machine stood still."""
        return self.guard.waking

    def accept(self, order: Order, basis: Basis) -> bool:
        """Take an order; False when a newer one was accepted before, or it cannot be kept."""
        try:
            state, memory = accept(self.state, self.memory, order, basis, self.incarnation)
        except StaleOrderError:
            return False
        if not self._keeps(state):
            return False
        unchanged = order.same_task(self.state.order)
        self.state, self.memory = state, memory
        if unchanged:
            return True
        if order.role is not Role.PRIMARY:
            self._proving.proof = None
        self._interrupt()
        self._look()
        return True

    def feed(self, epoch: int, until_s: float, basis: Basis) -> bool:
        """Extend the lease; False when something newer was accepted."""
        try:
            check(self.state, epoch, basis, self.incarnation)
        except StaleOrderError:
            return False
        held = self.lease
        if held is None or epoch > held.epoch or (epoch == held.epoch and until_s > held.until_s):
            self.lease = Lease(epoch, until_s)
            self.guard.arm()
        if not self.writable:
            self._wake()
        return True

    # -- the loop ---------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Look again now, unless a step is under way."""
        if self.process.running and not self._busy:
            self._look()

    def _interrupt(self) -> None:
        """The step under way has no further effect here."""
        self.hands.interrupted()
        self._looks += 1
        self._busy = False

    def _look_again(self, number: int) -> None:
        if number == self._looks and not self._busy:
            self._look()

    def _look(self) -> None:
        self._looks += 1
        decision = decide(situation(self))
        if not self._keeps(decision.state):
            self._retry(decision.activity, "no space left on device")
            return
        self.state, self.memory = decision.state, decision.memory
        if decision.guarded and not self.may_write:
            self.may_write = True
            self.guard.arm()
        self._proving.prove(decision.prove)
        self._proving.check_writes(decision.check_writes)
        self._publish(decision.activity, decision.problem)
        if decision.step is None:
            again_s = max(decision.again_s, LOOK_S) if decision.settled else decision.again_s
            self.process.after(again_s, self._look_again, self._looks)
            return
        self._busy = True
        self.hands.perform(decision.step, self._ended, (self._looks, decision))

    def _publish(self, activity: str, problem: str | None) -> None:
        length = len(self.postgres.history)
        now = (activity, problem, length, self.memory.settled)
        if now != (self.activity, self.problem, *self._reported):
            self.activity, self.problem, *_ = now
            self._reported = (length, self.memory.settled)
            self._changed()

    def _ended(self, number: int, decision: Decision, step: Step, outcome: Outcome) -> None:
        if number != self._looks:
            return
        self._busy = False
        state, memory = learn(self.state, self.memory, step, outcome, self.clock())
        if not self._keeps(state):
            self._retry(decision.activity, "no space left on device")
            return
        self.state, self.memory = state, memory
        self._changed()
        if isinstance(outcome, Failed) and not decision.settled:
            self._retry(decision.activity, self.memory.problem)
        elif decision.settled:
            self._looks += 1
            self.process.after(decision.again_s, self._look_again, self._looks)
        else:
            self._look()

    def _keeps(self, state: State) -> bool:
        """Whether this state can be kept on the disk."""
        return not self.hands.full or state == self.state

    def _retry(self, activity: str, problem: str | None) -> None:
        self._publish(activity, problem)
        self._looks += 1
        self.process.after(RETRY_S, self._look_again, self._looks)

    def learn(self, memory: Memory) -> None:
        """Take in what was shown beside the steps."""
        self.memory = memory
        self._changed()
        self._wake()

    def _server_changed(self) -> None:
        self._changed()
        if not self.memory.settled:
            self._wake()

    # -- what the hands and the faults do -----------------------------------------------------------

    def database_ended(self) -> None:
        """PostgreSQL has ended."""
        self.postgres.end()
        self.hands.ended()
        self.may_write = False
        self._proving.end()

    def stopped_by_guard(self) -> None:
        """The guard's thread ends PostgreSQL with its lease."""
        self.end()
        self.memory = replace(self.memory, stopped_by_guard=True)
        self._changed()
        self._wake()

    def end(self) -> None:
        """PostgreSQL ends at once, in the middle of whatever is done to it."""
        self.database_ended()
        self._interrupt()

    def kill(self) -> None:
        """The processes die; the disk stays."""
        self.process.kill()
        self.end()
        self.lease = None
        self.memory = Memory()
        self.hands.unchanged = False
        self.postgres.without_wal.clear()
        self.activity, self.problem, self._reported = "", None, (-1, False)
        self.guard.disarm()

    def die_at_a_step(self) -> None:
        """The process dies before, in the middle of, or just after what it does next to its PostgreSQL or disk."""
        self.hands.dies = True

    def spare(self) -> None:
        """Let it live, and come back if it died."""
        self.hands.dies = False
        self.restart()

    def die(self) -> None:
        """The process dies, and the agent notices."""
        self.kill()
        self._changed()

    def lose_disk(self) -> None:
        """The dead process's volume is replaced by an empty one: data, state and saved orphans are gone."""
        server = self.postgres
        saved = (key for _, keys in self.orphans for key in keys)
        self.destroyed.update({*saved, *(record.key for record in server.history.records if record.key is not None)})
        self.destroyed_epochs |= server.history.epochs
        self.orphans.clear()
        self.hands.lose_disk()
        self.state = State()

    def lose_state(self) -> None:
        """The dead process's state file is gone, its data is not, nor the mark of a rewind that was cut short."""
        self.state = State(incomplete=self.hands.torn)

    def restart(self) -> None:
        """The instance manager comes back and goes on with its last order."""
        if self.held:
            self.restart_soon()
        elif not self.process.alive:
            self.process.start()
            self._look()
            self._changed()

    def restart_soon(self) -> None:
        """Its container is restarted, as soon as the region can."""
        self._schedule.after(self._chance.uniform(*RESTART_S), self.restart)

    def crash_database(self) -> None:
        """PostgreSQL dies, the instance manager does not."""
        if self.process.alive:
            self.end()
            self._changed()
            self._wake()
