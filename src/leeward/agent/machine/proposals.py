"""What an agent asks the quorum store to agree to: the next topology, and its own promise."""

from typing import assert_never

from leeward.agent.machine import actions as do
from leeward.agent.machine.application import Application
from leeward.agent.machine.generations import Generations
from leeward.agent.machine.outbox import RETRY_S, Outbox
from leeward.agent.machine.store import StoreCopy
from leeward.core import invariants, keys
from leeward.core.actions import Action, Count, GivePromise, Propose, RenewGeneration
from leeward.core.asked import accept
from leeward.core.codec import encode
from leeward.core.settings import AgentSettings
from leeward.core.values import Accepted, Asked, Phase, Promise, Region
from leeward.core.view import Fence, View
from leeward.ports.quorum import Compare, Delete, Outcome, Put

COUNT_AGAIN_S = 1.0


class Proposals:
    """One at a time for each application, and none on a copy of the store that is known to be old."""

    def __init__(
        self,
        settings: AgentSettings,
        nearest: tuple[Region, ...],
        store: StoreCopy,
        generations: Generations,
        out: Outbox,
    ) -> None:
        self._generations = generations
        self._fleet = settings.fleet
        self._me = settings.region
        self._nearest = nearest
        self._store = store
        self._out = out

    def perform(self, app: Application, actions: tuple[Action, ...]) -> None:
        """Do what was decided about an application, as far as nothing of it is under way and it breaks no invariant."""
        for action in actions:
            match action:
                case Propose():
                    caught_up = self._store.revision >= app.propose_after_revision
                    if app.proposing is None and caught_up and self._out.now_s >= app.propose_after_s:
                        if self.sound(app, action):
                            self.propose(app, action)
                    elif app.proposing is None:
                        self._out.wake_by(max(app.propose_after_s, self._out.now_s + RETRY_S))
                case GivePromise():
                    self._give_promise(app, action)
                case Count():
                    self._count(app, action)
                case RenewGeneration(because=because):
                    self._generations.renew(because)
                case _:
                    assert_never(action)

    def sound(self, app: Application, proposal: Propose) -> bool:
        """Return whether a proposal keeps every invariant of the topology; report one that does not."""
        stored = self._store.topologies.get(app.settings.name)
        broken = invariants.broken(stored.topology if stored is not None else None, proposal.topology)
        if broken is not None and broken != app.defect:
            self._out.actions.append(do.ReportDefect(app.settings.name, broken))
        app.defect = broken
        return broken is None

    def propose(self, app: Application, proposal: Propose, asked: Asked | None = None) -> int:
        """Propose a topology; return the transaction's number. What an operator asked for takes effect once."""
        name = app.settings.name
        compares = [Compare(keys.topology(self._fleet, name), proposal.expected_revision), self._generation()]
        changes: list[Put | Delete] = [Put(keys.topology(self._fleet, name), encode(proposal.topology))]
        if proposal.bump_fence is not None:
            fence = self._store.fences.get(proposal.bump_fence, Fence())
            compares.append(Compare(keys.fence(self._fleet, proposal.bump_fence), fence.revision))
            changes.append(Put(keys.fence(self._fleet, proposal.bump_fence), str(fence.value + 1)))
        if proposal.unless_heard is not None:
            region, revision = proposal.unless_heard
            compares.append(Compare(keys.heartbeat(self._fleet, region), revision))
        if asked is not None:
            accepted, revision = self._store.accepted.get(name, (Accepted(), 0))
            key = keys.accepted(self._fleet, name)
            compares.append(Compare(key, revision))
            changes.append(Put(key, encode(accept(accepted, asked, self._out.unix_s))))
        by = None if asked is None else asked.by
        changes += [self._out.record(name, proposal.topology.epoch, note, by) for note in proposal.notes]
        app.proposing = self._out.transact(tuple(compares), tuple(changes))
        return app.proposing

    def _generation(self) -> Compare:
        return Compare(keys.generation(self._fleet), self._store.generation_revision)

    def _give_promise(self, app: Application, given: GivePromise) -> None:
        # Our own promise counts for us at once, and for others when they receive it: it is on our instance's disk.
        self.receive_promise(app, given.promise)
        self._out.actions.extend(do.SendPromise(region, given.promise) for region in self._nearest)

    def receive_promise(self, app: Application, promise: Promise) -> None:
        """Take in what a region promised, before the store has it."""
        app.direct_promises[promise.region] = promise

    def forget_store(self, app: Application) -> None:
        """Wait for nothing that was asked of a history of the store that was replaced."""
        app.proposing = app.promising = None
        app.propose_after_revision = 0
        app.propose_after_s = app.promise_after_s = 0.0

    def _count(self, app: Application, count: Count) -> None:
        """Replace the tally once; whoever else counts the same at the same time fails, and sees it counted."""
        name = app.settings.name
        if app.counting is not None or self._out.now_s < app.count_after_s:
            return
        _, revision = self._store.tallies.get(name, (None, 0))
        key = keys.tally(self._fleet, name)
        app.counting = self._out.transact(
            (Compare(key, revision),),
            (Put(key, encode(count.tally)), self._out.record(name, count.epoch, count.note)),
        )

    def write_promise(self, app: Application, view: View) -> None:
        """Put our promise into the store until it is there: an agent that starts now must find it."""
        topology, promise = view.topology, app.direct_promises.get(self._me)
        if topology is None or topology.phase is not Phase.ELECTING or promise is None:
            return
        written = self._store.promises.get((app.settings.name, self._me)) == promise
        if promise.epoch != topology.epoch or written or app.promising is not None:
            return
        if self._out.now_s < app.promise_after_s:
            self._out.wake_by(app.promise_after_s)
            return
        app.promising = self._out.transact(
            (Compare(keys.topology(self._fleet, promise.app), view.topology_revision), self._generation()),
            (Put(keys.promise(self._fleet, promise.app, self._me), encode(promise)),),
        )

    def ended(self, app: Application, transaction: int, outcome: Outcome | None) -> None:
        """Take in how a transaction about an application ended; None without an answer."""
        if app.proposing == transaction:
            app.proposing = None
            if outcome is None:
                app.propose_after_s = self._out.now_s + RETRY_S
            else:
                app.propose_after_revision = outcome.revision
        if app.promising == transaction:
            app.promising = None
            app.promise_after_s = self._out.now_s + RETRY_S
        if app.counting == transaction:
            app.counting = None
            # The watch brings what was counted a moment later.
            app.count_after_s = self._out.now_s + COUNT_AGAIN_S
