"""The shipped instance machine as a finite step function, and one region's instance as a value.

Always true: a decision is computed once. State and memory of a manager are put into one canonical form and numbered,
and so is a whole instance; equal ones have one number. ``canonical`` says what is left out, because it decides nothing.
"""

from collections.abc import Hashable
from dataclasses import replace
from typing import Any, NamedTuple

from leeward.agent.machine import events as on
from leeward.core.values import (
    App,
    Basis,
    InstanceStatus,
    Order,
    Orphans,
    Region,
    Role,
    Sender,
    WalPosition,
)
from leeward.instance.machine import acceptance, outcomes
from leeward.instance.machine import decide as machine
from leeward.instance.machine.pace import PATIENCE_S
from leeward.instance.machine.steps import Outcome, Step
from leeward.instance.machine.values import Duty, Memory, Proof, Situation, State
from leeward.sim.explore.agents import Numbers
from leeward.sim.explore.server import Server

CLOCK_BEHIND_S = 7.0
"""The instance's boot clock is behind its agent's, as on another machine: leases must be translated."""
SAID = "-"
"""In place of any sentence."""


class Lease(NamedTuple):
    """Permission to write until ``until_s`` of the instance's clock."""

    epoch: int
    until_s: float


class Instance(NamedTuple):
    """One region's instance manager and its PostgreSQL: they live and die together."""

    server: Server = Server()
    mind: int = 0
    """The number of the manager's state and memory."""
    alive: bool = True
    life: int = 0
    lease: Lease | None = None
    duty: Duty | None = None
    closed: bool = False
    """The application has no session, and gets none."""
    may_write: bool = False
    """Under the guard."""
    problem: bool = False
    """As published."""
    proof: Proof | None = None
    """What is to be shown."""
    recorded: bool = False
    """Its record is written."""
    proving_lsn: int | None = None
    """Its commit waits for the standbys."""


class Looked(NamedTuple):
    """A decision, as far as it changes anything here."""

    mind: int
    step: Step | None
    guarded: bool
    prove: Proof | None
    problem: bool


class Managers:
    """All states of instance managers that were seen, and every decision."""

    def __init__(self, regions: tuple[Region, ...]) -> None:
        self._others = {me: frozenset(regions) - {me} for me in regions}
        self._numbers = Numbers()
        self._minds: list[tuple[State, Memory]] = []
        self._number_of: dict[Hashable, int] = {}
        self._looked: dict[Hashable, Looked] = {}
        self._learned: dict[Hashable, int] = {}
        self._accepted: dict[Hashable, int | None] = {}
        self._reported: dict[Hashable, on.InstanceReported] = {}
        self._instances: list[Instance] = []
        self._instance_numbers: dict[Instance, int] = {}
        self.born = self._mind(State(), Memory(), 0.0)

    @property
    def decisions(self) -> int:
        """How many different decisions were taken."""
        return len(self._looked)

    def instance(self, number: int) -> Instance:
        """Return an instance by its number."""
        return self._instances[number]

    def number(self, instance: Instance) -> int:
        """Return the number of an instance."""
        known = self._instance_numbers.get(instance)
        if known is None:
            known = self._instance_numbers[instance] = len(self._instances)
            self._instances.append(instance)
        return known

    def state(self, instance: Instance) -> State:
        """Return what is on its manager's disk."""
        return self._minds[instance.mind][0]

    def memory(self, instance: Instance) -> Memory:
        """Return what its manager remembers."""
        return self._minds[instance.mind][1]

    def look(self, me: Region, instance: Instance, now_s: float) -> Looked:
        """Return what the manager decides now."""
        server = instance.server
        lease = _lease_s(instance, self.state(instance).order, now_s)
        seen = (server.role, len(server.history), server.epoch, server.follows, server.upstream, server.answers)
        rest = (server.recovery_signal, server.closing_until_s is not None, instance.duty, instance.may_write)
        key = (me, instance.mind, seen, rest, lease, instance.closed, now_s)
        known = self._looked.get(key)
        if known is None:
            known = self._looked[key] = self._look(me, instance, lease, now_s)
        return known

    def _look(self, me: Region, instance: Instance, lease_s: float, now_s: float) -> Looked:
        server, (state, memory) = instance.server, self._minds[instance.mind]
        decision = machine.decide(
            Situation(
                now_s=now_s,
                upstreams=self._others[me],
                state=state,
                memory=memory,
                running=server.role is not Role.STOPPED,
                stopping=server.closing_until_s is not None,
                seen=server.observed(),
                streaming_from=server.upstream,
                has_data=bool(server.history),
                recovery_signal=server.recovery_signal,
                duty=instance.duty,
                may_write=instance.may_write,
                lease_s=lease_s,
                closed=instance.closed,
            )
        )
        mind = self._mind(decision.state, decision.memory, now_s)
        return Looked(mind, decision.step, decision.guarded, decision.prove, decision.problem is not None)

    def learn(self, instance: Instance, step: Step, outcome: Outcome, now_s: float) -> Instance:
        """Let the manager take in how a step ended."""
        key = (instance.mind, step, outcome, now_s)
        mind = self._learned.get(key)
        if mind is None:
            state, memory = outcomes.learn(*self._minds[instance.mind], step, outcome, now_s)
            mind = self._learned[key] = self._mind(state, memory, now_s)
        return instance._replace(mind=mind)

    def shown(self, instance: Instance, now_s: float, **shown: Any) -> Instance:
        """Let the manager remember what was proved."""
        state, memory = self._minds[instance.mind]
        return instance._replace(mind=self._mind(state, replace(memory, **shown), now_s))

    def accept(self, instance: Instance, order: Order, basis: Basis, now_s: float) -> Instance | None:
        """Take an order; None when it is refused."""
        key = (instance.mind, instance.life, order, basis, now_s)
        if key not in self._accepted:
            state, memory = self._minds[instance.mind]
            try:
                accepted = acceptance.accept(state, memory, order, basis, str(instance.life))
            except acceptance.StaleOrderError:
                self._accepted[key] = None
            else:
                self._accepted[key] = self._mind(*accepted, now_s)
        mind = self._accepted[key]
        if mind is None:
            return None
        if order.role is not Role.PRIMARY:
            instance = instance._replace(proof=None, recorded=False, proving_lsn=None)
        return instance._replace(mind=mind)

    def feed(self, instance: Instance, epoch: int, until_s: float, basis: Basis) -> Instance | None:
        """Extend the lease; None when it is refused."""
        try:
            acceptance.check(self.state(instance), epoch, basis, str(instance.life))
        except acceptance.StaleOrderError:
            return None
        held = instance.lease
        if held is None or epoch > held.epoch or (epoch == held.epoch and until_s > held.until_s):
            return instance._replace(lease=Lease(epoch, until_s))
        return instance

    def died(self, instance: Instance) -> Instance:
        """Let the manager die, and PostgreSQL with it: the state and the data are on the disk."""
        mind = self._mind(self.state(instance), Memory(), 0.0)
        return Instance(instance.server, mind, alive=False, life=instance.life + 1)

    def writable(self, instance: Instance, now_s: float) -> bool:
        """Whether it reports that it accepts writes."""
        state, memory = self._minds[instance.mind]
        order = state.order
        obeys = order is not None and order.role is Role.PRIMARY and state.writable_epoch == order.epoch
        admitted = memory.admitted_epoch == state.epoch and instance.server.role is Role.PRIMARY
        return obeys and admitted and _lease_s(instance, order, now_s) > 0

    def reported(
        self, app: App, instance: Instance, senders: tuple[tuple[Region, int], ...], now_s: float
    ) -> on.InstanceReported:
        """Return what reaches the agent; equal ones are one object, which is numbered faster."""
        key = (app, instance, senders, now_s)
        known = self._reported.get(key)
        if known is None:
            known = self._reported[key] = on.InstanceReported(app, self.status(instance, senders, now_s))
        return known

    def status(self, instance: Instance, senders: tuple[tuple[Region, int], ...], now_s: float) -> InstanceStatus:
        """Return what the manager reports; ``senders``: who streams from it, and what they hold."""
        state, memory = self._minds[instance.mind]
        server, order = instance.server, state.order
        length = len(server.history) if server.answers else None
        wal = WalPosition(server.epoch, length) if length is not None else None
        if server.role is Role.STOPPED:
            wal = state.stopped_wal
        members = server.names.members if server.names is not None else ()
        epochs = sorted({epoch for epoch, _ in server.saved})
        return InstanceStatus(
            clock_s=now_s,
            incarnation=str(instance.life),
            epoch=state.epoch,
            role=server.shown,
            order=order,
            settled=memory.settled,
            activity="",
            writable=self.writable(instance, now_s),
            proved=order is not None and memory.proved_epoch == order.epoch,
            wal=wal,
            replayed_lsn=length,
            upstream=server.upstream if server.answers else None,
            senders=tuple(Sender(region, True, lsn, lsn, region in members) for region, lsn in senders),
            lease_until_s=instance.lease.until_s if instance.lease is not None else None,
            problem=SAID if instance.problem else None,
            orphans=tuple(Orphans(epoch, sum(each == epoch for each, _ in server.saved), 0, "") for epoch in epochs),
            revision=state.revision,
            accepted=state.accepted,
            has_data=bool(server.history),
        )

    def _mind(self, state: State, memory: Memory, now_s: float) -> int:
        memory = canonical(memory, now_s)
        key = (self._numbers.of(state), self._numbers.of(memory))
        known = self._number_of.get(key)
        if known is None:
            known = self._number_of[key] = len(self._minds)
            self._minds.append((state, memory))
        return known


def canonical(memory: Memory, now_s: float) -> Memory:
    """Take out what decides nothing: sentences, what only reports say, and times that are over."""
    idle_s = memory.idle_since_s
    return replace(
        memory,
        problem=None if memory.problem is None else SAID,
        undecided=None if memory.undecided is None else SAID,
        # Disks take every write here.
        written_at_s=None,
        ordered_follow_at_s=0.0,
        streams_since_s=0.0,
        pending_rejoin=None,
        rejoined=None,
        compare_after_s=memory.compare_after_s if memory.compare_after_s > now_s else 0.0,
        idle_since_s=None if idle_s is None else max(idle_s, now_s - PATIENCE_S),
    )


def _lease_s(instance: Instance, order: Order | None, now_s: float) -> float:
    if order is None or instance.lease is None or instance.lease.epoch != order.epoch:
        return 0.0
    return instance.lease.until_s - now_s
