"""The simulated quorum store: one log, a member per region, a leader, and elections that take their time.

What matters of etcd for us: a transaction commits only through a leader that reaches a majority; it may
commit although the answer is lost; members see commits later, in order; a member cut off keeps serving its old
watchers silence. Linearizable reads go through the leader as well.
"""

from collections.abc import Callable
from random import Random

from leeward.core.values import Region
from leeward.ports.quorum import Change, Compare, Delete, Entry, Outcome, Put, Snapshot
from leeward.sim.network import Network
from leeward.sim.schedule import Schedule

ELECTION_S = (1.0, 2.0)
FSYNC_S = 0.001
POLL_S = 0.05


class Member:
    """One region's etcd member: how far it applied the log, and who watches it."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.alive = True
        self.frozen = False
        self.applied = 0
        self.watcher: Callable[[Change], None] | None = None
        self.watched = 0

    @property
    def up(self) -> bool:
        """Whether it takes part."""
        return self.alive and not self.frozen


class Store:
    """The log that the majority agrees on."""

    def __init__(self, schedule: Schedule, network: Network, chance: Random, regions: tuple[Region, ...]) -> None:
        self._schedule = schedule
        self._network = network
        self._chance = chance
        self.members = {region: Member(region) for region in regions}
        self.leader: Region | None = regions[0]
        self.revision = 1
        self.entries: dict[str, Entry] = {}
        self._log: list[Change] = []
        self._waiting: list[Callable[[], None]] = []
        self._election: int = 0
        self._electing = False
        schedule.after(POLL_S, self._supervise)

    # -- leadership -------------------------------------------------------------------------------

    def _reaches(self, one: Region, other: Region) -> bool:
        cut = self._network.is_cut
        return one == other or not (cut(one, other) or cut(other, one))

    def _majority(self, region: Region) -> bool:
        members = self.members.values()
        reached = sum(member.up and self._reaches(region, member.region) for member in members)
        return self.members[region].up and reached > len(self.members) // 2

    def _supervise(self) -> None:
        self._schedule.after(POLL_S, self._supervise)
        if self.leader is not None and self._majority(self.leader):
            return
        if not self._electing:
            self._electing = True
            self._election += 1
            self._schedule.after(self._chance.uniform(*ELECTION_S), self._elect, self._election)

    def _elect(self, number: int) -> None:
        if number != self._election:
            return
        self._electing = False
        if self.leader is not None and self._majority(self.leader):
            return
        able = [region for region in self.members if self._majority(region)]
        self.leader = self._chance.choice(able) if able else None
        if self.leader is not None:
            # A new leader holds every committed entry.
            self._catch_up(self.leader)
            waiting, self._waiting = self._waiting, []
            for run in waiting:
                run()

    def move_leader(self, to: Region) -> None:
        """Hand leadership over, if the new leader can lead."""
        if self._majority(to):
            self.leader = to
            self._catch_up(to)

    # -- transactions -----------------------------------------------------------------------------

    def transact(
        self,
        region: Region,
        compares: tuple[Compare, ...],
        changes: tuple[Put | Delete, ...],
        answer: Callable[[Outcome], None],
    ) -> None:
        """Carry a transaction to the leader; ``answer`` runs in ``region`` if and when its answer arrives."""
        if not self.members[region].up:
            return

        def forward() -> None:
            if self.leader is None:
                self._waiting.append(forward)
            else:
                self._network.send(region, self.leader, lead, self.leader)

        def lead(leader: Region) -> None:
            if leader != self.leader or not self._majority(leader):
                # The proposal is dropped or hangs; the caller's timeout decides.
                self._waiting.append(forward)
                return
            self._schedule.after(self._round_trip_s(leader), commit, leader)

        def commit(leader: Region) -> None:
            if leader != self.leader or not self._majority(leader):
                if self._chance.random() < 0.5:
                    # The entry reached the next leader: committed, though nobody is told.
                    self._commit(compares, changes)
                return
            outcome = self._commit(compares, changes)
            self._network.send(leader, region, answer, outcome)

        forward()

    def _round_trip_s(self, leader: Region) -> float:
        others = sorted(
            self._network.delay_s(leader, region) + self._network.delay_s(region, leader)
            for region, member in self.members.items()
            if region != leader and member.up and self._reaches(leader, region)
        )
        needed = len(self.members) // 2
        return FSYNC_S + (others[needed - 1] if needed else 0.0)

    def _commit(self, compares: tuple[Compare, ...], changes: tuple[Put | Delete, ...]) -> Outcome:
        for compare in compares:
            entry = self.entries.get(compare.key)
            if (entry.revision if entry is not None else 0) != compare.revision:
                return Outcome(False, self.revision)
        self.revision += 1
        changed: dict[str, str | None] = {}
        for change in changes:
            if isinstance(change, Put):
                self.entries[change.key] = Entry(change.value, self.revision)
                changed[change.key] = change.value
            elif self.entries.pop(change.key, None) is not None:
                changed[change.key] = None
        self._log.append(Change(self.revision, changed))
        leader = self.leader
        for region in self.members:
            if leader is None or region == leader:
                self._catch_up(region)
            else:
                self._network.send(leader, region, self._catch_up, region, self.revision)
        return Outcome(True, self.revision)

    # -- reading ----------------------------------------------------------------------------------

    def snapshot(self, region: Region, answer: Callable[[Snapshot], None]) -> None:
        """Read everything, linearizably: a transaction that changes nothing."""
        if not self.members[region].up or self.leader is None or not self._majority(self.leader):
            return
        leader = self.leader

        def read() -> None:
            self._network.send(leader, region, answer, Snapshot(self.revision, dict(self.entries)))

        self._network.send(region, leader, lambda: self._schedule.after(self._round_trip_s(leader), read))

    def watch(self, region: Region, after: int, deliver: Callable[[Change], None]) -> None:
        """Deliver every later revision at this region's member, as it applies them."""
        member = self.members[region]
        member.watcher, member.watched = deliver, after
        self._catch_up(region)

    def restart(self, region: Region) -> None:
        """A member comes back with its data and asks the leader for what it missed."""
        member = self.members[region]
        member.alive, member.frozen = True, False
        if self.leader is not None and self.leader != region:
            self._network.send(self.leader, region, self._catch_up, region, self.revision)
        else:
            self._catch_up(region)

    def _catch_up(self, region: Region, up_to: int | None = None) -> None:
        member = self.members[region]
        if not member.up:
            return
        member.applied = max(member.applied, self.revision if up_to is None else up_to)
        if member.watcher is None:
            return
        first = max(0, member.watched - (self.revision - len(self._log)))
        for change in self._log[first:]:
            if change.revision > member.applied:
                break
            if change.revision > member.watched:
                member.watched = change.revision
                member.watcher(change)
