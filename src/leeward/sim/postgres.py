"""A simulated PostgreSQL server, with the semantics that failover depends on.

A primary acknowledges in async at once, and otherwise when enough standbys flushed; it goes on doing so
until it is stopped, whatever the topology says. Standbys stream from their upstream over a connection, and cascade.

Positions are compared, never contents. A standby whose history forked off is let in like any other one and says how
far it has flushed; only when its timeline ends does it find the fork. A primary that believed it would acknowledge
writes that no standby has. So the WAL proxy between the two lets a standby claim no more than was sent to it.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from leeward.core.values import Region, Role, Synchronous
from leeward.sim.commits import Commits
from leeward.sim.history import History, WalRecord
from leeward.sim.network import Network
from leeward.sim.process import Process

CONNECT_ROUND_TRIPS = 2
# From the end of a timeline, which is what a promotion does to those who stream, until WAL of the next one is sent.
# PostgreSQL's WAL receiver takes four. With its questions asked ahead (decision 10) it is none for whoever lined up
# before the promotion, and one for all others.
FOLLOW_ROUND_TRIPS = 0
ASK_ROUND_TRIPS = 1
RECONNECT_S = (0.05, 0.15)
CONNECT_TIMEOUT_S = 3.0

Answer = Callable[[int, int, bool], None]
"""Gets the epoch and the LSN of a commit, and whether its owner asked that it wait for no standby."""


class Greeting(StrEnum):
    """How an upstream answers a standby."""

    WELCOME = "welcome"
    BEHIND = "behind"
    DIVERGED = "diverged"
    REMOVED = "removed"
    REFUSED = "refused"


@dataclass(slots=True)
class Receiver:
    """A standby that streams from here."""

    link: int
    sent: int
    timeline: str
    """Which it gets the WAL of, as far as that goes."""
    lined_up: bool
    """It came while we were in recovery, on the same timeline."""
    flushed: int | None = None
    """As far as it says; None before it said anything."""
    ended: bool = False
    """The timeline has ended here, and it has not asked for the next one yet."""

    @property
    def streaming(self) -> bool:
        """Whether it gets WAL and has confirmed some."""
        return self.flushed is not None and not self.ended


def claim(held_lsn: int, sent_lsn: int) -> int:
    """Return how far a standby may say that it has flushed: what it holds, and no more than was sent to it.

    The WAL proxy's part (``leeward.instance.walrelay.prefetch``).
    """
    return min(held_lsn, sent_lsn)


class Postgres:
    """One server and its data directory. Its instance manager is the caller."""

    def __init__(
        self,
        region: Region,
        network: Network,
        process: Process,
        peers: Mapping[Region, "Postgres"],
        *,
        chance: Random,
        changed: Callable[[], None],
    ) -> None:
        self.region = region
        self.role = Role.STOPPED
        self.history = History()
        self.epoch = 0
        """The epoch that its writes are recorded under, while it is a primary."""
        self.upstream: Region | None = None
        """The region that it streams from."""
        self.follows: Region | None = None
        """The region that it is configured to stream from: it connects again for as long as it is."""
        self.greeting: Greeting | None = None
        """What the last upstream answered."""
        self.admits = True
        """Whether the application may have sessions."""
        self.consistent_lsn = 0
        """Fresh from a copy or a rewind it answers no query before it holds this much."""
        self.receivers: dict[Region, Receiver] = {}
        self.commits = Commits(self.receivers)
        self.waived = 0
        """How often its owner has set ``synchronous_commit`` to off: the application's commits wait for nothing."""
        self.hung = 0
        """How many things keep its disk from taking anything."""
        self.keeps: int | None = None
        """How many records a slot keeps for a standby that is away; None: all."""
        self.removed_lsn = 0
        """WAL up to here is gone."""
        self.without_wal: set[Region] = set()
        """Upstreams that lack the WAL that follows what is here."""
        self.closing = False
        """It stops cleanly: no sessions any more, the rest of the WAL goes out."""
        self.disk_s = 0.0
        """What a flush takes beyond the usual."""
        self._network = network
        self._process = process
        self._peers = peers
        self._chance = chance
        self._changed = changed
        self._link = 0
        self._sent_lsn = 0
        """How far the upstream has sent, in this connection; all before it both had."""
        self._timeline = ""
        """Which its writes go to, while it is a primary."""
        self._promotions = 0
        self._stuck: list[tuple[str, Answer]] = []
        """Writes that the disk has not taken."""
        self._unflushed: deque[tuple[int, int, list[WalRecord]]] = deque()
        self._flushed_at_s = 0.0
        """When the disk will have done what it was asked for."""
        self._numbers = 0

    # -- starting and ending ----------------------------------------------------------------------

    def start(self, *, recovery: bool) -> None:
        """Begin to answer: in recovery, connected to no upstream yet, or as the primary it was."""
        self.role, self.closing = Role.DETACHED if recovery else Role.PRIMARY, False
        self.epoch = self.history.position.epoch
        self._timeline = self.history.timeline
        self.commits.begin()

    @property
    def answers(self) -> bool:
        """Whether it answers queries."""
        return self.role is not Role.STOPPED and len(self.history) >= self.consistent_lsn

    def promote(self) -> None:
        """Leave recovery and begin a timeline. What is written belongs to the old epoch until ``record``."""
        self.follow(None)
        self._promotions += 1
        self._timeline = f"{self.region}-{self._promotions}"
        self.role, self.epoch, self.closing = Role.PRIMARY, self.history.position.epoch, False

    def record(self, epoch: int) -> None:
        """Commit the record of the epoch without waiting for a standby."""
        self.epoch = epoch
        self._append(None)

    def commit(self, acknowledged: Callable[[], None]) -> None:
        """Commit something that is no client's write: ``acknowledged`` runs when the standbys have it."""
        self.commits.wait(self._append(None), acknowledged)

    def close(self) -> None:
        """Begin a clean stop: sessions end at once, standbys get what is left."""
        self.closing = True
        self.commits.drop()
        self._stuck.clear()

    @property
    def sent_out(self) -> bool:
        """Whether every standby that streams has confirmed everything."""
        return all((one.flushed or 0) >= len(self.history) for one in self.receivers.values() if not one.ended)

    def end(self) -> None:
        """End now. Kernels reset the connections of the peers."""
        self.follows = None
        self.disconnect()
        self.role, self.closing = Role.STOPPED, False
        self.commits.end()
        self._stuck.clear()
        self._unflushed.clear()
        for region, receiver in self.receivers.items():
            self._send(region, "_reset", receiver.link)
        self.receivers.clear()

    def _send(self, region: Region, what: str, *arguments: object) -> None:
        peer = self._peers[region]
        self._network.stream(self.region, region, peer._process.receive, getattr(peer, what), *arguments)

    # -- as a standby -----------------------------------------------------------------------------

    def disconnect(self) -> None:
        """Hang up: nothing is received or acknowledged any more."""
        self._link += 1
        if self.upstream is not None:
            self._send(self.upstream, "_gone", self.region, self._link - 1)
            self.upstream = None

    def follow(self, upstream: Region | None) -> None:
        """Be configured to stream from an upstream, or from none."""
        self.follows = upstream
        self.disconnect()
        if self.role is not Role.PRIMARY:
            self.role = Role.DETACHED if upstream is None else Role.STANDBY
        if upstream is not None:
            self._connect(upstream)

    def _connect(self, upstream: Region) -> None:
        there, back = self._network.delay_s(self.region, upstream), self._network.delay_s(upstream, self.region)
        self._process.after(CONNECT_ROUND_TRIPS * (there + back), self._ask, upstream, self._link)
        # Where no answer comes at all, it gives up and tries again.
        self._process.after(CONNECT_TIMEOUT_S, self._retry, self._link)

    def _retry(self, link: int) -> None:
        if link == self._link and self.upstream is None:
            self._reconnect()

    def _reconnect(self) -> None:
        """Connect again after a moment, as a WAL receiver that ended is started again."""
        self._link += 1
        if self.follows is not None and self.role is not Role.STOPPED:
            self._process.after(self._chance.uniform(*RECONNECT_S), self._connect_again, self._link)

    def _connect_again(self, link: int) -> None:
        if link == self._link and self.follows is not None:
            self._connect(self.follows)

    def _ask(self, upstream: Region, link: int) -> None:
        if link == self._link:
            self._send(upstream, "_greet", self.region, link)

    def reachable_from(self, region: Region) -> bool:
        """Whether another region can read its files and its WAL now."""
        cut = self._network.is_cut
        up = self._process.running and self.role is not Role.STOPPED and not self.closing
        return up and not cut(self.region, region) and not cut(region, self.region)

    def _greet(self, region: Region, link: int) -> None:
        peer = self._peers[region]
        if link != peer._link:
            return
        if self.role is not Role.STOPPED and not self.answers:
            self._send(region, "_answered", self.region, link, Greeting.REFUSED, 0)
            return
        common = peer.history.common_with(self.history)
        if self.role is Role.STOPPED or self.closing:
            greeting = Greeting.REFUSED
        elif common == len(self.history) < len(peer.history):
            # A prefix of theirs: not a fork, and a primary will soon have the record of its epoch.
            greeting = Greeting.BEHIND
        elif common == len(peer.history) < self.removed_lsn:
            greeting = Greeting.REMOVED
        else:
            greeting = Greeting.WELCOME
            timeline = peer.history.timeline
            lined_up = self.role is not Role.PRIMARY and timeline == self.history.timeline
            self.receivers[region] = Receiver(link, common, timeline, lined_up)
        self._send(region, "_answered", self.region, link, greeting, common)
        if greeting is Greeting.WELCOME:
            self._push(region)
            self._changed()

    def _answered(self, upstream: Region, link: int, greeting: Greeting, from_lsn: int) -> None:
        if link != self._link or self.role is Role.STOPPED:
            return
        self.greeting = greeting
        if greeting is Greeting.REMOVED:
            self.without_wal.add(upstream)
        if greeting is Greeting.WELCOME:
            self.without_wal.discard(upstream)
            self.upstream, self._sent_lsn = upstream, from_lsn
            self._say_flushed(upstream)
            self._changed()
        else:
            self._reconnect()

    def _say_flushed(self, upstream: Region) -> None:
        self._send(upstream, "_flushed", self.region, self._link, claim(len(self.history), self._sent_lsn))

    def _ended(self, upstream: Region, link: int, fork_lsn: int, left: int) -> None:
        """The upstream has no more of this timeline: ask for the next one, unless ours goes beyond the fork."""
        if link != self._link or self.upstream is None:
            return
        if len(self.history) > fork_lsn:
            self.disconnect()
            self.greeting = Greeting.DIVERGED
            self._changed()
            self._reconnect()
        else:
            self._send(upstream, "_asked_on", self.region, link, left - 1)

    def _reset(self, link: int) -> None:
        if link == self._link and self.role is not Role.STOPPED:
            self.upstream = None
            self._changed()
            self._reconnect()

    def _receive(self, link: int, first: int, records: list[WalRecord]) -> None:
        if link != self._link:
            return
        now_s = self._network.now_s
        self._sent_lsn = first + len(records)
        self._unflushed.append((link, first, records))
        if self.disk_s or len(self._unflushed) > 1:
            self._flushed_at_s = max(self._flushed_at_s, now_s + self.disk_s)
            self._process.at(self._flushed_at_s, self._flush)
        else:
            self._flush()

    def _flush(self) -> None:
        """Make the oldest of what was received durable, and say so."""
        if not self._unflushed or self.hung:
            return
        link, first, records = self._unflushed.popleft()
        if link != self._link or self.upstream is None:
            return
        assert first == len(self.history), "one connection delivers in order"
        for record in records:
            self.history.append(record)
        self.recycle()
        for region in self.receivers:
            self._push(region)
        self._say_flushed(self.upstream)

    # -- as an upstream ---------------------------------------------------------------------------

    def _push(self, region: Region) -> None:
        receiver = self.receivers[region]
        first, records = receiver.sent, self.history.records
        if first == len(records) or receiver.ended:
            return
        last = len(records)
        if records[-1].timeline != receiver.timeline:
            later = (at for at in range(first, last) if records[at].timeline != receiver.timeline)
            last = next(later, last)
        if first < last:
            receiver.sent = last
            self._send(region, "_receive", receiver.link, first, records[first:last])
        if last < len(records):
            receiver.ended = True
            promoted = receiver.lined_up and self.role is Role.PRIMARY
            self._end_timeline(region, receiver, FOLLOW_ROUND_TRIPS if promoted else ASK_ROUND_TRIPS)

    def _end_timeline(self, region: Region, receiver: Receiver, left: int) -> None:
        if left > 0:
            self._send(region, "_ended", self.region, receiver.link, receiver.sent, left)
        else:
            receiver.timeline, receiver.ended = self.history.records[receiver.sent].timeline, False
            self._push(region)
            self._changed()

    def _asked_on(self, region: Region, link: int, left: int) -> None:
        receiver = self.receivers.get(region)
        if receiver is not None and receiver.link == link:
            self._end_timeline(region, receiver, left)

    def _flushed(self, region: Region, link: int, lsn: int) -> None:
        receiver = self.receivers.get(region)
        if receiver is not None and receiver.link == link:
            is_first, receiver.flushed = receiver.flushed is None, lsn
            self.commits.release()
            if is_first:
                self._changed()

    def _gone(self, region: Region, link: int) -> None:
        receiver = self.receivers.get(region)
        if receiver is not None and receiver.link == link:
            del self.receivers[region]
            self.commits.release()
            self._changed()

    # -- as a primary -----------------------------------------------------------------------------

    def write(self, key: str, acknowledged: Answer, refused: Callable[[], None]) -> None:
        """Commit a client's write and answer once it is acknowledged.

        A key that is there already writes a record all the same, so that its answer waits for the standbys, too.
        """
        if self.role is not Role.PRIMARY or self.closing or not self.admits:
            refused()
        elif self.disk_s:
            self._process.after(self.disk_s, self._write, key, acknowledged)
        else:
            self._write(key, acknowledged)

    def _write(self, key: str, acknowledged: Answer) -> None:
        if self.role is not Role.PRIMARY or self.closing or not self.admits:
            return
        if self.hung:
            self._stuck.append((key, acknowledged))
            return
        epoch = self.epoch
        lsn = self._append(None if self.history.holds(key) else key)
        if self.waived:
            acknowledged(epoch, lsn, True)
        else:
            self.commits.wait(lsn, lambda: acknowledged(epoch, lsn, False))

    def _append(self, key: str | None) -> int:
        self._numbers += 1
        lsn = self.history.append(WalRecord(self.epoch, self._numbers, key, self._timeline))
        self.recycle()
        for region in self.receivers:
            self._push(region)
        return lsn

    def write_in_bulk(self, records: int) -> None:
        """Write WAL that no commit waits for, as a vacuum does: a primary that is cut off gets ahead."""
        if self.role is Role.PRIMARY and not self.closing and not self.hung:
            for _ in range(records):
                self._append(None)

    def enforce(self, synchronous: Synchronous | None) -> None:
        """Change who must acknowledge."""
        self.commits.configure(synchronous)

    # -- its disk ---------------------------------------------------------------------------------

    def recycle(self) -> None:
        """Remove the WAL that no standby that streams needs, and that is too much to keep for those that are away."""
        if self.keeps is not None:
            needed = (receiver.sent for receiver in self.receivers.values())
            self.removed_lsn = max(self.removed_lsn, min(len(self.history) - self.keeps, *needed, len(self.history)))

    def lose_disk(self) -> None:
        """The volume is empty."""
        self.history.cut_at(0)
        self.consistent_lsn = self.removed_lsn = 0

    def hang(self) -> None:
        """Let the disk take nothing."""
        self.hung += 1

    def go_on(self) -> None:
        """Let that end: what waited for the disk is done, by a process that stands still as soon as it goes on."""
        self.hung -= 1
        if self._process.running:
            self._take_up()
        else:
            self._process.after(0.0, self._take_up)

    def _take_up(self) -> None:
        if self.hung:
            return
        for _ in range(len(self._unflushed)):
            self._flush()
        stuck, self._stuck = self._stuck, []
        for key, acknowledged in stuck:
            self._write(key, acknowledged)
