"""A simulated PostgreSQL server, with the semantics that failover depends on.

A primary acknowledges in async at once, and otherwise when enough standbys flushed; it goes on doing so
until it is stopped, whatever anybody believes. Standbys stream from their upstream over a connection, cascade,
and can follow only a history that contains theirs.
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
    flushed: int


@dataclass(slots=True)
class Pending:
    """A commit that waits for acknowledgements."""

    lsn: int
    answer: Callable[[], None]


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
        """Be a primary, and commit the record of the epoch: ``proved`` runs when it is acknowledged."""
        self.disconnect()
        self.role, self.epoch, self.closing = Role.PRIMARY, epoch, False
        self._commit(None, proved)

    def close(self) -> None:
        """Begin a clean stop: sessions end at once, standbys get what is left."""
        self.closing = True
        self._pending.clear()

    @property
    def sent_out(self) -> bool:
        """Whether every standby that is connected has confirmed everything."""
        return all(receiver.flushed >= len(self.history) for receiver in self.receivers.values())

    def end(self) -> None:
        """End now. Kernels tell the peers."""
        self.disconnect()
        self.role, self.closing = Role.STOPPED, False
        self._pending.clear()
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
        elif common == len(peer.history):
            greeting = Greeting.WELCOME
            self.receivers[region] = Receiver(link, common, common)
        elif common == len(self.history):
            # A prefix of theirs: not a fork, and a primary will soon have the record of its epoch.
            greeting = Greeting.BEHIND
        else:
            greeting = Greeting.DIVERGED
        self._tell(region, "_answered", self.region, link, greeting)
        if greeting is Greeting.WELCOME:
            self._push(region)
            self._release()
            self._changed()

    def _answered(self, upstream: Region, link: int, greeting: Greeting) -> None:
        if link != self._link or self.role is Role.STOPPED:
            return
        if greeting is Greeting.WELCOME:
            self.role, self.upstream = Role.STANDBY, upstream
        self._greeted(upstream, greeting)

    def _reset(self, link: int) -> None:
        if link == self._link and self.role is not Role.STOPPED:
            self.upstream = None
            self._link += 1
            self._hung_up()

    def _receive(self, link: int, first: int, records: list[WalRecord]) -> None:
        if link != self._link:
            return
        now_s = self._network.now_s
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
        self._tell(self.upstream, "_flushed", self.region, link, len(self.history))

    # -- as an upstream ---------------------------------------------------------------------------

    def _push(self, region: Region) -> None:
        receiver = self.receivers[region]
        first = receiver.sent
        if first < len(self.history):
            receiver.sent = len(self.history)
            self._tell(region, "_receive", receiver.link, first, self.history.records[first:])

    def _flushed(self, region: Region, link: int, lsn: int) -> None:
        receiver = self.receivers.get(region)
        if receiver is not None and receiver.link == link:
            receiver.flushed = lsn
            self._release()

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
        lsn = self.history.append(WalRecord(self.epoch, self._numbers, key))
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
        reached = len(self.history) if self.synchronous is None else self._acknowledged(self.synchronous)
        ready = [pending for pending in self._pending if pending.lsn <= reached]
        if ready:
            self._pending = [pending for pending in self._pending if pending.lsn > reached]
            for pending in ready:
                pending.answer()

    def _acknowledged(self, synchronous: Synchronous) -> int:
        """Return the LSN up to which enough standbys have flushed."""
        flushed = [self.receivers[region].flushed for region in synchronous.members if region in self.receivers]
        if len(flushed) < synchronous.required:
            return 0
        if synchronous.method is SynchronousMethod.FIRST:
            return min(flushed[: synchronous.required])
        return sorted(flushed, reverse=True)[synchronous.required - 1]
