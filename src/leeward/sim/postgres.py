"""A simulated PostgreSQL server, with the semantics that failover depends on.

A primary acknowledges in async at once, and otherwise when enough standbys flushed; it goes on doing so
until it is stopped, whatever anybody believes. Standbys stream from their upstream over a connection, and cascade.

Positions are compared, never contents. A standby whose history forked off is let in like any other one and says how
far it has flushed; only when its timeline ends does it find the fork. A primary that believed it would acknowledge
writes that nobody has. So the courier between the two lets a standby claim no more than was sent to it.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from leeward.core.values import Region, Role, Synchronous, SynchronousMethod
from leeward.sim.history import History, WalRecord
from leeward.sim.network import Network
from leeward.sim.process import Process

CONNECT_ROUND_TRIPS = 2
# From the end of a timeline, which is what a promotion does to those who stream, until WAL of the next one is sent.
# PostgreSQL's WAL receiver takes four. With its questions asked ahead (decision 10) it is none for whoever lined up
# before the promotion, and one for everybody else.
FOLLOW_ROUND_TRIPS = 0
ASK_ROUND_TRIPS = 1

Answer = Callable[[int, int], None]


class Greeting(StrEnum):
    """How an upstream answers a standby."""

    WELCOME = "welcome"
    BEHIND = "behind"
    DIVERGED = "diverged"
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


@dataclass(slots=True)
class Pending:
    """A commit that waits for acknowledgements."""

    lsn: int
    answer: Callable[[], None]


def claim(held_lsn: int, sent_lsn: int) -> int:
    """Return how far a standby may say that it has flushed: what it holds, and no more than was sent to it.

    The courier's part (``leeward.adapters.postgres.anticipation``).
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
        changed: Callable[[], None],
        greeted: Callable[[Region, Greeting], None],
        hung_up: Callable[[], None],
    ) -> None:
        self.region = region
        self.role = Role.STOPPED
        self.history = History()
        self.epoch = 0
        """The epoch that its writes are recorded under, while it is a primary."""
        self.synchronous: Synchronous | None = None
        """Who must acknowledge, as it is in force."""
        self.upstream: Region | None = None
        self.receivers: dict[Region, Receiver] = {}
        self.closing = False
        """It stops cleanly: no sessions any more, the rest of the WAL goes out."""
        self.disk_s = 0.0
        """What a flush takes beyond the usual."""
        self._network = network
        self._process = process
        self._peers = peers
        self._changed = changed
        self._greeted = greeted
        self._hung_up = hung_up
        self._link = 0
        self._sent_lsn = 0
        """How far the upstream has sent, in this connection; all before it both had."""
        self._timeline = ""
        """Which its writes go to, while it is a primary."""
        self._promotions = 0
        self._released_lsn = 0
        """Commits up to here were acknowledged by enough standbys, or so they said; it is never taken back."""
        self._unflushed: deque[tuple[int, int, list[WalRecord]]] = deque()
        self._flushed_at_s = 0.0
        """When the disk will have done what it was asked for."""
        self._numbers = 0
        self._pending: list[Pending] = []

    # -- starting and ending ----------------------------------------------------------------------

    def start_in_recovery(self) -> None:
        """Begin to answer, in recovery, connected to nobody."""
        self.role, self.closing = Role.DETACHED, False

    def lead(self, epoch: int, proved: Callable[[], None]) -> None:
        """Be a primary, and commit the record of the epoch: ``proved`` runs when it is acknowledged.

        Out of recovery that is a promotion, and begins a timeline; a primary started again goes on with its own.
        """
        self.disconnect()
        if self.role in (Role.DETACHED, Role.STANDBY):
            self._promotions += 1
            self._timeline = f"{self.region}-{self._promotions}"
        self.role, self.epoch, self.closing = Role.PRIMARY, epoch, False
        self._commit(None, proved)

    def close(self) -> None:
        """Begin a clean stop: sessions end at once, standbys get what is left."""
        self.closing = True
        self._pending.clear()

    @property
    def sent_out(self) -> bool:
        """Whether every standby that streams has confirmed everything."""
        return all((one.flushed or 0) >= len(self.history) for one in self.receivers.values() if not one.ended)

    def end(self) -> None:
        """End now. Kernels tell the peers."""
        self.disconnect()
        self.role, self.closing = Role.STOPPED, False
        self._pending.clear()
        self._released_lsn = 0
        self._unflushed.clear()
        for region, receiver in self.receivers.items():
            self._tell(region, "_reset", receiver.link)
        self.receivers.clear()

    def _tell(self, region: Region, what: str, *arguments: object) -> None:
        peer = self._peers[region]
        self._network.stream(self.region, region, peer._process.receive, getattr(peer, what), *arguments)

    # -- as a standby -----------------------------------------------------------------------------

    def disconnect(self) -> None:
        """Hang up: nothing is received or acknowledged any more."""
        self._link += 1
        if self.upstream is not None:
            self._tell(self.upstream, "_gone", self.region, self._link - 1)
            self.upstream = None

    def connect(self, upstream: Region) -> None:
        """Ask an upstream for its WAL; ``greeted`` tells how it went, unless the order changes first."""
        self.disconnect()
        there, back = self._network.delay_s(self.region, upstream), self._network.delay_s(upstream, self.region)
        self._process.after(CONNECT_ROUND_TRIPS * (there + back), self._ask, upstream, self._link)

    def _ask(self, upstream: Region, link: int) -> None:
        if link == self._link:
            self._tell(upstream, "_greet", self.region, link)

    def reachable_from(self, region: Region) -> bool:
        """Whether another region can read its files and its WAL now."""
        cut = self._network.is_cut
        up = self._process.running and self.role is not Role.STOPPED and not self.closing
        return up and not cut(self.region, region) and not cut(region, self.region)

    def _greet(self, region: Region, link: int) -> None:
        peer = self._peers[region]
        if link != peer._link:
            return
        common = peer.history.common_with(self.history)
        if self.role is Role.STOPPED or self.closing:
            greeting = Greeting.REFUSED
        elif common == len(self.history) < len(peer.history):
            # A prefix of theirs: not a fork, and a primary will soon have the record of its epoch.
            greeting = Greeting.BEHIND
        else:
            greeting = Greeting.WELCOME
            timeline = peer.history.timeline
            lined_up = self.role is not Role.PRIMARY and timeline == self.history.timeline
            self.receivers[region] = Receiver(link, common, timeline, lined_up)
        self._tell(region, "_answered", self.region, link, greeting, common)
        if greeting is Greeting.WELCOME:
            self._push(region)
            self._changed()

    def _answered(self, upstream: Region, link: int, greeting: Greeting, from_lsn: int) -> None:
        if link != self._link or self.role is Role.STOPPED:
            return
        if greeting is Greeting.WELCOME:
            self.role, self.upstream, self._sent_lsn = Role.STANDBY, upstream, from_lsn
            self._say_flushed(upstream)
        self._greeted(upstream, greeting)

    def _say_flushed(self, upstream: Region) -> None:
        self._tell(upstream, "_flushed", self.region, self._link, claim(len(self.history), self._sent_lsn))

    def _ended(self, upstream: Region, link: int, fork_lsn: int, left: int) -> None:
        """The upstream has no more of this timeline: ask for the next one, unless ours goes beyond the fork."""
        if link != self._link or self.upstream is None:
            return
        if len(self.history) > fork_lsn:
            self.disconnect()
            self._greeted(upstream, Greeting.DIVERGED)
        else:
            self._tell(upstream, "_asked_on", self.region, link, left - 1)

    def _reset(self, link: int) -> None:
        if link == self._link and self.role is not Role.STOPPED:
            self.upstream = None
            self._link += 1
            self._hung_up()

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
        if not self._unflushed:
            return
        link, first, records = self._unflushed.popleft()
        if link != self._link or self.upstream is None:
            return
        assert first == len(self.history), "one connection delivers in order"
        for record in records:
            self.history.append(record)
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
            self._tell(region, "_receive", receiver.link, first, records[first:last])
        if last < len(records):
            receiver.ended = True
            promoted = receiver.lined_up and self.role is Role.PRIMARY
            self._end_timeline(region, receiver, FOLLOW_ROUND_TRIPS if promoted else ASK_ROUND_TRIPS)

    def _end_timeline(self, region: Region, receiver: Receiver, left: int) -> None:
        if left > 0:
            self._tell(region, "_ended", self.region, receiver.link, receiver.sent, left)
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
            self._release()
            if is_first:
                self._changed()

    def _gone(self, region: Region, link: int) -> None:
        receiver = self.receivers.get(region)
        if receiver is not None and receiver.link == link:
            del self.receivers[region]
            self._release()
            self._changed()

    # -- as a primary -----------------------------------------------------------------------------

    def write(self, key: str, acknowledged: Answer, refused: Callable[[], None]) -> None:
        """Commit a client's write and answer with its epoch and LSN once it is acknowledged.

        A key that is there already writes a record all the same, so that its answer waits for the standbys, too.
        """
        if self.role is not Role.PRIMARY or self.closing:
            refused()
        elif self.disk_s:
            self._process.after(self.disk_s, self._write, key, acknowledged)
        else:
            self._write(key, acknowledged)

    def _write(self, key: str, acknowledged: Answer) -> None:
        if self.role is not Role.PRIMARY or self.closing:
            return
        epoch, lsn = self.epoch, len(self.history) + 1
        self._commit(None if self.history.holds(key) else key, lambda: acknowledged(epoch, lsn))

    def _commit(self, key: str | None, answer: Callable[[], None]) -> None:
        self._numbers += 1
        lsn = self.history.append(WalRecord(self.epoch, self._numbers, key, self._timeline))
        for region in self.receivers:
            self._push(region)
        if self.synchronous is None:
            answer()
        else:
            self._pending.append(Pending(lsn, answer))
            self._release()

    def enforce(self, synchronous: Synchronous | None) -> None:
        """Change who must acknowledge; commits that wait go by it, too."""
        self.synchronous = synchronous
        self._release()

    def _release(self) -> None:
        if self.role is not Role.PRIMARY or not self._pending:
            return
        if self.synchronous is None:
            reached = len(self.history)
        else:
            reached = self._released_lsn = max(self._released_lsn, self._acknowledged(self.synchronous))
        ready = [pending for pending in self._pending if pending.lsn <= reached]
        if ready:
            self._pending = [pending for pending in self._pending if pending.lsn > reached]
            for pending in ready:
                pending.answer()

    def _acknowledged(self, synchronous: Synchronous) -> int:
        """Return the LSN up to which enough standbys have flushed."""
        known = (self.receivers[region].flushed for region in synchronous.members if region in self.receivers)
        flushed = [lsn for lsn in known if lsn is not None]
        if len(flushed) < synchronous.required:
            return 0
        if synchronous.method is SynchronousMethod.FIRST:
            return min(flushed[: synchronous.required])
        return sorted(flushed, reverse=True)[synchronous.required - 1]
