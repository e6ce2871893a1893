"""The simulated quorum store: one log, a member per region, a leader, and elections that take their time.

What matters of etcd for us: a transaction commits only through a leader that reaches a majority; it may
commit although the answer is lost; members learn of commits later, in order, from a leader that reaches them;
a watch is served by the local member, as far as it has got; linearizable reads go through the leader.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random

from leeward.core import keys
from leeward.core.codec import encode
from leeward.core.recovery import SINCE_UNIX_S
from leeward.core.values import Generation, Region
from leeward.ports.quorum import Change, Compare, Delete, Entry, Outcome, Put, Snapshot
from leeward.sim.member import Deliver, Member
from leeward.sim.network import Network
from leeward.sim.schedule import Schedule

ELECTION_S = (1.0, 2.0)
FSYNC_S = 0.001
POLL_S = 0.1
BACKUPS_KEPT = 100
BUMP = 1000


@dataclass(frozen=True, slots=True)
class Request:
    """A transaction on its way: from which region, and which state of the store it was meant for."""

    region: Region
    compares: tuple[Compare, ...]
    changes: tuple[Put | Delete, ...]
    answer: Callable[[Outcome], None]
    history: int


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
        self.on_commit: Callable[[Change, Mapping[str, str]], None] = lambda change, replaced: None
        """Called with every change that is committed, and the values that it replaces."""
        self.on_restore: Callable[[], None] = lambda: None
        """Called when another history takes the place of the one in force."""
        self.disk_s = dict.fromkeys(regions, FSYNC_S)
        self._first = 2
        """The revision of the first change that is not compacted."""
        self.history = 0
        """How often an older state took the place of a newer one."""
        self._log: list[Change] = []
        self._backups: deque[tuple[float, dict[str, Entry]]] = deque(maxlen=BACKUPS_KEPT)
        self._waiting: list[Callable[[], None]] = []
        self._election: int = 0
        self._electing = False
        schedule.after(POLL_S, self._supervise)

    @property
    def calm(self) -> bool:
        """Whether there is a leader, no request waits for one, and every member takes part and is watched."""
        return (
            self.leader is not None
            and not self._electing
            and not self._waiting
            and all(one.up and not one.stalled and one.watcher is not None for one in self.members.values())
        )

    # -- leadership -------------------------------------------------------------------------------

    def _reaches(self, one: Region, other: Region) -> bool:
        cut = self._network.is_cut
        return one == other or not (cut(one, other) or cut(other, one))

    def _majority(self, region: Region) -> bool:
        itself = self.members[region]
        if not itself.alive or itself.frozen:
            return False
        whole = not self._network.cuts
        reached = 0
        for other, member in self.members.items():
            if member.alive and not member.frozen and (whole or self._reaches(region, other)):
                reached += 1
        return reached > len(self.members) // 2

    def _supervise(self) -> None:
        self._schedule.after(POLL_S, self._supervise)
        if self.leader is not None and self._majority(self.leader):
            if self._waiting:
                self._lead(self.leader)
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
        self._lead(self._chance.choice(able) if able else None)

    def move_leader(self, to: Region) -> None:
        """Hand leadership over, if the new leader can lead."""
        if self._majority(to):
            self._lead(to)

    def _lead(self, region: Region | None) -> None:
        self.leader = region
        if region is not None:
            # A new leader holds every committed entry, and tells the others.
            self._tell_members(region)
            waiting, self._waiting = self._waiting, []
            for run in waiting:
                run()

    def _tell_members(self, leader: Region) -> None:
        for region in self.members:
            if region == leader:
                self._apply(region, self.revision, self.history)
            else:
                self._network.stream(leader, region, self._apply, region, self.revision, self.history)

    # -- transactions -----------------------------------------------------------------------------

    def transact(
        self,
        region: Region,
        compares: tuple[Compare, ...],
        changes: tuple[Put | Delete, ...],
        answer: Callable[[Outcome], None],
    ) -> None:
        """Carry a transaction to the leader; ``answer`` runs in ``region`` if and when its answer arrives."""
        if self.members[region].up:
            self._forward(Request(region, compares, changes, answer, self.history))

    def _forward(self, request: Request) -> None:
        """Send a transaction to the leader, or let it wait for one."""
        if request.history != self.history:
            return
        if self.leader is None:
            self._waiting.append(partial(self._forward, request))
        else:
            self._network.send(request.region, self.leader, self._propose, request, self.leader)

    def _propose(self, request: Request, leader: Region) -> None:
        """A transaction has arrived at the leader, which asks the others."""
        if request.history != self.history:
            return
        if leader != self.leader or not self._majority(leader):
            # The proposal is dropped or hangs; the caller's timeout decides.
            self._waiting.append(partial(self._forward, request))
            return
        self._schedule.after(self._round_trip_s(leader), self._finish, request, leader)

    def _finish(self, request: Request, leader: Region) -> None:
        """The others have answered: commit, and answer the region that asked."""
        if request.history != self.history:
            return
        if leader != self.leader:
            if self._chance.random() < 0.5:
                # The entry reached the next leader: committed, though the region gets no answer.
                self._commit(request.compares, request.changes)
            return
        if not self._majority(leader):
            self._waiting.append(partial(self._finish, request, leader))
            return
        outcome = self._commit(request.compares, request.changes)
        self._network.send(leader, request.region, request.answer, outcome)

    def _round_trip_s(self, leader: Region) -> float:
        delay_s, whole = self._network.delay_s, not self._network.cuts
        others = [
            delay_s(leader, region) + delay_s(region, leader) + self.disk_s[region]
            for region, member in self.members.items()
            if region != leader and member.up and (whole or self._reaches(leader, region))
        ]
        others.sort()
        needed = len(self.members) // 2
        # Without a majority now, it takes as long as the farthest; whether it commits is decided then.
        return max(self.disk_s[leader], *others[:needed], 0.0)

    def _commit(self, compares: tuple[Compare, ...], changes: tuple[Put | Delete, ...]) -> Outcome:
        for compare in compares:
            entry = self.entries.get(compare.key)
            if (entry.revision if entry is not None else 0) != compare.revision:
                return Outcome(False, self.revision)
        self.revision += 1
        changed: dict[str, str | None] = {}
        replaced = {change.key: self.entries[change.key].value for change in changes if change.key in self.entries}
        for change in changes:
            if isinstance(change, Put):
                self.entries[change.key] = Entry(change.value, self.revision)
                changed[change.key] = change.value
            elif self.entries.pop(change.key, None) is not None:
                changed[change.key] = None
        change_made = Change(self.revision, changed)
        self._log.append(change_made)
        self.on_commit(change_made, replaced)
        if self.leader is not None:
            self._tell_members(self.leader)
        return Outcome(True, self.revision)

    # -- reading ----------------------------------------------------------------------------------

    def snapshot(self, region: Region, answer: Callable[[Snapshot], None]) -> None:
        """Read everything, linearizably: a transaction that changes nothing."""
        if not self.members[region].up or self.leader is None:
            return
        history = self.history

        def read(leader: Region) -> None:
            if history == self.history and leader == self.leader and self._majority(leader):
                self._network.send(leader, region, answer, Snapshot(self.revision, dict(self.entries)))

        def ask(leader: Region) -> None:
            self._schedule.after(self._round_trip_s(leader), read, leader)

        self._network.send(region, self.leader, ask, self.leader)

    def watch(self, region: Region, after: int, deliver: Deliver, compacted: Callable[[], None]) -> None:
        """Deliver every later revision as this region's member applies it; ``compacted``: it cannot go on."""
        member = self.members[region]
        # A revision that the store does not have yet: it went back since the snapshot was taken.
        after = after if after <= self.revision else -1
        member.watcher, member.compacted, member.watched = deliver, compacted, after
        self._serve(member)

    def compact(self) -> None:
        """Forget history: a watch that has not got so far must start from a new snapshot."""
        self._log.clear()
        self._first = self.revision + 1

    def keep_backup(self) -> None:
        """Keep the state as of now, as a backup would."""
        self._backups.append((self._schedule.now_s, dict(self.entries)))

    def restore(self, age_s: float | None, *, bumped: bool = True, mark: str | None = None) -> None:
        """Put the state of ``age_s`` ago, or nothing at all, in the place of the newest.

        ``bumped``: revisions go on above those that were given; otherwise they go back, and are given again. ``mark``:
        the restore procedure writes this generation before any agent reaches the store. Watches end;
        what was on its way to the store is lost.
        """
        wanted_s = self._schedule.now_s - age_s if age_s is not None else float("-inf")
        found = next((kept for at_s, kept in reversed(self._backups) if at_s <= wanted_s), None)
        self.entries = {} if age_s is None else dict(found if found is not None else self._backups[0][1])
        newest = max((entry.revision for entry in self.entries.values()), default=1)
        self.revision = self.revision + BUMP if bumped else newest
        if mark is not None:
            self.revision += 1
            generation = Generation(mark, "the store was restored", SINCE_UNIX_S + self._schedule.now_s)
            self.entries[keys.generation("simulated")] = Entry(encode(generation), self.revision)
        self._waiting.clear()
        self.history += 1
        self.on_restore()
        self.compact()
        for member in self.members.values():
            member.applied, member.watched = self.revision, -1
            if member.up:
                self._serve(member)

    def stall(self, region: Region, stalled: bool) -> None:
        """Hold back what watchers should get, or let it go on."""
        self.members[region].stalled = stalled
        self._serve(self.members[region])

    def restart(self, region: Region, *, frozen: bool = False) -> None:
        """A member comes back with its data and asks the leader for what it missed."""
        member = self.members[region]
        member.alive, member.frozen = True, frozen
        if self.leader is not None:
            self._network.stream(self.leader, region, self._apply, region, self.revision, self.history)

    def _apply(self, region: Region, up_to: int, history: int) -> None:
        member = self.members[region]
        if member.alive and not member.frozen and history == self.history:
            if up_to > member.applied:
                member.applied = up_to
            self._serve(member)

    def _serve(self, member: Member) -> None:
        """Give the watcher what the member has applied and it has not seen."""
        while member.watched < member.applied and member.watcher is not None and member.up and not member.stalled:
            index = member.watched + 1 - self._first
            if index < 0:
                compacted, member.watched = member.compacted, member.applied
                member.forget_watcher()
                assert compacted is not None, "set together with the watcher"
                compacted()
                return
            change = self._log[index]
            member.watched = change.revision
            member.watcher(change)
