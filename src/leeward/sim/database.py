"""A simulated PostgreSQL under its instance manager, with the semantics that failover depends on.

WAL is a list of records, each with the epoch of the primary that wrote it: a record's index is its LSN.
Primaries acknowledge in async at once, and otherwise when enough standbys flushed; standbys stream from
their upstream, cascade, and diverge when they hold what their upstream never had, until they are rewound.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from leeward.core.values import (
    App,
    InstanceStatus,
    Order,
    Orphans,
    Region,
    ReplicationMode,
    Role,
    Sender,
    Synchronous,
    WalPosition,
)
from leeward.sim.network import Network
from leeward.sim.schedule import Schedule

START_S = (0.1, 0.25)
PROMOTE_S = (0.03, 0.08)
STOP_S = (0.03, 0.12)
REWIND_S = (0.4, 1.0)
CONNECT_ROUND_TRIPS = 3
RETRY_S = 0.1
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class WalRecord:
    """One committed thing: a client's write, or the epoch's own record (``key`` is None)."""

    epoch: int
    key: str | None


@dataclass(slots=True)
class Pending:
    """A commit that waits for acknowledgements."""

    lsn: int
    required: int
    members: tuple[Region, ...]
    answer: Callable[[], None]


class Instance:
    """One region's instance manager and its PostgreSQL."""

    def __init__(
        self,
        region: Region,
        app: App,
        schedule: Schedule,
        network: Network,
        chance: Random,
        peers: dict[Region, "Instance"],
        *,
        clock: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self.region = region
        self.app = app
        self._schedule = schedule
        self._network = network
        self._chance = chance
        self._peers = peers
        self._clock = clock
        self._changed = changed
        self.wal: list[WalRecord] = []
        self.epoch = 0
        self.order: Order | None = None
        self.role = Role.STOPPED
        self.alive = True
        self.frozen = False
        self.lease_until_s: float | None = None
        self.upstream: Region | None = None
        self.receivers: dict[Region, int] = {}
        self.orphans: list[tuple[int, list[str]]] = []
        self.slow_disk_s = 0.0
        self.proved_epoch = 0
        self._sent: dict[Region, int] = {}
        self._busy = 0
        self._guard = 0
        self._pending: list[Pending] = []
        self._life = 0
        self._connecting: Region | None = None

    # -- what the agent sees and orders -----------------------------------------------------------

    @property
    def leased(self) -> bool:
        """Whether its lease still runs, by its own clock."""
        return self.lease_until_s is not None and self._clock() < self.lease_until_s

    @property
    def writable(self) -> bool:
        """Whether it accepts writes."""
        obeys = self.order is not None and self.order.role is Role.PRIMARY and self.order.epoch == self.epoch
        return self.alive and not self.frozen and self.role is Role.PRIMARY and obeys

    def status(self) -> InstanceStatus:
        """Return what the instance manager would answer now."""
        order = self.order
        settled = order is not None and self._busy == 0 and self._settled(order)
        known = self.role is not Role.STOPPED or (settled and order is not None and order.role is Role.STOPPED)
        return InstanceStatus(
            clock_s=self._clock(),
            incarnation=str(self._life),
            epoch=self.epoch,
            role=self.role,
            order=order,
            settled=settled,
            activity="running" if settled else "converging",
            writable=self.writable,
            proved=self.writable and self.proved_epoch == self.epoch,
            wal=self.position() if known else None,
            replayed_lsn=len(self.wal) if known else None,
            upstream=self.upstream,
            senders=tuple(
                Sender(region, True, lsn, lsn, self._is_synchronous(region)) for region, lsn in self.receivers.items()
            ),
            lease_until_s=self.lease_until_s,
            orphans=tuple(Orphans(epoch, len(keys), len(keys), "") for epoch, keys in self.orphans),
        )

    def position(self) -> WalPosition:
        """Return how much of history it holds."""
        return WalPosition(self.wal[-1].epoch if self.wal else 0, len(self.wal))

    def accept(self, order: Order) -> bool:
        """Take an order; False when a newer epoch was accepted before."""
        if order.epoch < self.epoch:
            return False
        if order != self.order:
            self.epoch, self.order = order.epoch, order
            self._converge()
        return True

    def feed(self, epoch: int, until_s: float) -> bool:
        """Extend the lease; False when the epoch is not the one in force."""
        if epoch != self.epoch:
            return False
        self.lease_until_s = max(until_s, self.lease_until_s or 0.0)
        self._guard += 1
        self._arm(self._guard)
        self._converge()
        return True

    def _arm(self, guard: int) -> None:
        assert self.lease_until_s is not None
        self._schedule.after(max(0.0, self.lease_until_s - self._clock()) + 1e-6, self._lease_over, guard)

    def _lease_over(self, guard: int) -> None:
        """The kernel ends PostgreSQL at the deadline, frozen or not."""
        if guard != self._guard or self.role is not Role.PRIMARY:
            return
        if self.leased:
            self._arm(guard)
            return
        self._stop()

    # -- converging -------------------------------------------------------------------------------

    def _settled(self, order: Order) -> bool:
        if order.role is Role.STANDBY:
            return self.role is Role.STANDBY and self.upstream == order.upstream
        return self.role is order.role

    def _converge(self) -> None:
        """Go one step towards the order; steps in progress are not interrupted."""
        order = self.order
        if order is None or not self.alive or self.frozen or self._busy:
            return
        match order.role:
            case Role.STOPPED:
                if self.role is not Role.STOPPED:
                    if self.role is Role.PRIMARY:
                        self._flush_to_receivers()
                    self._step(STOP_S, self._stopped_cleanly)
            case Role.DETACHED:
                if self.role is Role.PRIMARY:
                    self._stop()
                if self.role is Role.STOPPED:
                    self._step(START_S, self._detached)
                elif self.role is Role.STANDBY or self._connecting is not None:
                    self._detached()
            case Role.STANDBY:
                if self.role is Role.PRIMARY:
                    self._stop()
                if self.role is Role.STOPPED:
                    self._step(START_S, self._detached)
                elif self.upstream != order.upstream and self._connecting != order.upstream:
                    self._disconnect()
                    self._connect(order.upstream)
            case Role.PRIMARY:
                if self.role is Role.PRIMARY:
                    self._release()
                elif self.leased:
                    if self.role is Role.STOPPED and self.wal and self.wal[-1].epoch == order.epoch:
                        self._step(START_S, self._promoted)
                    else:
                        self._step(PROMOTE_S, self._promoted)

    def _step(self, takes_s: tuple[float, float], done: Callable[[], None]) -> None:
        self._busy += 1
        life, number = self._life, self._busy
        self._schedule.after(self._chance.uniform(*takes_s), self._step_done, life, number, done)

    def _step_done(self, life: int, number: int, done: Callable[[], None]) -> None:
        if life != self._life or not self.alive or self.frozen:
            return
        self._busy = 0
        done()
        self._changed()
        self._converge()

    def _stopped_cleanly(self) -> None:
        self._stop()

    def _detached(self) -> None:
        self._disconnect()
        self.role = Role.DETACHED
        self._changed()

    def _promoted(self) -> None:
        order = self.order
        if order is None or order.role is not Role.PRIMARY or not self.leased:
            return
        self._disconnect()
        self.role = Role.PRIMARY
        if not self.wal or self.wal[-1].epoch < order.epoch:
            epoch = order.epoch

            def proved() -> None:
                self.proved_epoch = max(self.proved_epoch, epoch)
                self._changed()

            self._append(WalRecord(epoch, None), proved)

    def _stop(self) -> None:
        self._disconnect()
        self.role = Role.STOPPED
        self._pending.clear()
        for region in list(self.receivers):
            self._peers[region].lose_upstream(self.region)
        self.receivers.clear()
        self._sent.clear()
        self._changed()

    # -- streaming --------------------------------------------------------------------------------

    def _disconnect(self) -> None:
        self._connecting = None
        if self.upstream is not None:
            self._peers[self.upstream].drop_receiver(self.region)
            self.upstream = None

    def drop_receiver(self, region: Region) -> None:
        """A standby is gone."""
        self.receivers.pop(region, None)
        self._sent.pop(region, None)

    def lose_upstream(self, region: Region) -> None:
        """The upstream is gone: try again while the order says so."""
        if self.upstream == region:
            self.upstream = None
            self._schedule.after(RETRY_S, self._converge)

    def _connect(self, upstream: Region | None) -> None:
        if upstream is None or upstream == self.region:
            return
        self._connecting = upstream
        life = self._life
        trips_s = CONNECT_ROUND_TRIPS * (
            self._network.delay_s(self.region, upstream) + self._network.delay_s(upstream, self.region)
        )
        self._schedule.after(trips_s, self._network.send, upstream, self.region, self._connected, upstream, life)

    def _connected(self, upstream: Region, life: int) -> None:
        order = self.order
        wanted = order is not None and order.role is Role.STANDBY and order.upstream == upstream
        if life != self._life or self._connecting != upstream or not self.alive or self.frozen:
            return
        self._connecting = None
        source = self._peers[upstream]
        cut = self._network.is_cut(self.region, upstream)
        up = source.alive and not source.frozen and source.role in (Role.PRIMARY, Role.STANDBY, Role.DETACHED)
        if not wanted or cut or not up:
            self._schedule.after(RETRY_S, self._converge)
            return
        common = _common(self.wal, source.wal)
        if common < len(self.wal):
            # Certain divergence only once the upstream has a history of its own; until then it is merely behind.
            if common < len(source.wal) or source.role is Role.PRIMARY:
                self._step(REWIND_S, lambda: self._rewind(upstream))
            else:
                self._schedule.after(RETRY_S, self._converge)
            return
        self.role = Role.STANDBY
        self.upstream = upstream
        source.receivers[self.region] = len(self.wal)
        source._sent[self.region] = len(self.wal)
        source._push(self.region)
        source._acknowledge()
        self._changed()

    def _rewind(self, upstream: Region) -> None:
        common = _common(self.wal, self._peers[upstream].wal)
        lost = [record.key for record in self.wal[common:] if record.key is not None]
        if lost:
            self.orphans.append((self.wal[-1].epoch, lost))
        del self.wal[common:]

    def _push(self, region: Region) -> None:
        """Send a receiver what it has not been sent."""
        first = self._sent.get(region)
        if first is None or first >= len(self.wal):
            return
        records = self.wal[first:]
        self._sent[region] = len(self.wal)
        self._network.stream(self.region, region, self._peers[region]._receive, self.region, first, records)

    def _receive(self, upstream: Region, first: int, records: list[WalRecord]) -> None:
        if not self.alive or self.upstream != upstream or len(self.wal) < first:
            return
        if self.frozen:
            return
        new = records[len(self.wal) - first :]
        if new:
            self.wal.extend(new)
            for region in self.receivers:
                self._push(region)
        if self.slow_disk_s:
            self._schedule.after(self.slow_disk_s, self._report_flush, upstream, len(self.wal))
        else:
            self._report_flush(upstream, len(self.wal))

    def _report_flush(self, upstream: Region, lsn: int) -> None:
        if self.alive and not self.frozen and self.upstream == upstream:
            self._network.stream(self.region, upstream, self._peers[upstream]._flushed, self.region, lsn)

    def _flushed(self, region: Region, lsn: int) -> None:
        if not self.alive or self.frozen or region not in self.receivers:
            return
        self.receivers[region] = max(self.receivers[region], lsn)
        self._acknowledge()

    def _flush_to_receivers(self) -> None:
        """A clean stop sends everything to whoever is connected, and waits for it."""
        for region in self.receivers:
            peer = self._peers[region]
            reachable = not self._network.is_cut(self.region, region) and peer.alive and not peer.frozen
            if reachable and peer.upstream == self.region:
                peer.wal.extend(self.wal[len(peer.wal) :])

    # -- writing ----------------------------------------------------------------------------------

    def write(self, key: str, acknowledged: Callable[[int, int], None], refused: Callable[[], None]) -> None:
        """Commit a client's write and answer with its epoch and LSN once it is acknowledged."""
        if not self.writable or not self.alive or self.frozen:
            refused()
            return
        known = next((lsn for lsn in range(len(self.wal), 0, -1) if self.wal[lsn - 1].key == key), None)
        epoch = self.epoch
        if known is not None:
            self._await_acks(known, lambda: acknowledged(epoch, known))
            return
        lsn = len(self.wal) + 1
        self._append(WalRecord(epoch, key), lambda: acknowledged(epoch, lsn))

    def _append(self, record: WalRecord, answer: Callable[[], None]) -> None:
        self.wal.append(record)
        for region in self.receivers:
            self._push(region)
        self._await_acks(len(self.wal), answer)

    def _synchronous(self) -> Synchronous | None:
        return self.order.synchronous if self.order is not None else None

    def _is_synchronous(self, region: Region) -> bool:
        synchronous = self._synchronous()
        return synchronous is not None and region in synchronous.members

    def _await_acks(self, lsn: int, answer: Callable[[], None]) -> None:
        synchronous = self._synchronous()
        if synchronous is None:
            answer()
            return
        self._pending.append(Pending(lsn, synchronous.required, synchronous.members, answer))
        self._acknowledge()

    def _acknowledge(self) -> None:
        if self.role is not Role.PRIMARY:
            return
        still = []
        for pending in self._pending:
            if self._acked(pending):
                pending.answer()
            else:
                still.append(pending)
        self._pending = still

    def _acked(self, pending: Pending) -> bool:
        return sum(self.receivers.get(region, -1) >= pending.lsn for region in pending.members) >= pending.required

    def _release(self) -> None:
        """An order may have relaxed who must acknowledge."""
        if self._synchronous() is None:
            pending, self._pending = self._pending, []
            for each in pending:
                each.answer()

    # -- faults -----------------------------------------------------------------------------------

    def kill(self) -> None:
        """The processes die; the disk stays."""
        self.alive = False
        self._life += 1
        self._busy = 0
        self._stop()
        self.lease_until_s = None

    def restart(self) -> None:
        """The instance manager comes back and waits for an order or a lease."""
        if not self.alive:
            self.alive = True
            self.frozen = False
            self._converge()
            self._changed()

    def crash_database(self) -> None:
        """PostgreSQL dies, the instance manager does not."""
        self._stop()
        self._busy = 0
        self._life += 1
        self._schedule.after(RETRY_S, self._converge)

    def freeze(self) -> None:
        """Everything stands still; the kernel's timer does not."""
        self.frozen = True

    def thaw(self) -> None:
        """Everything goes on where it was."""
        self.frozen = False
        self._busy = 0
        self._life += 1
        for region in self.receivers:
            self._sent[region] = min(self._sent.get(region, 0), self.receivers[region])
            self._push(region)
        self._converge()
        self._changed()


def _common(one: list[WalRecord], other: list[WalRecord]) -> int:
    """Return how many records two histories share from their beginning."""
    low, high = 0, min(len(one), len(other))
    # Histories are equal up to their fork and differ in the epoch right after it, or merely end.
    while low < high:
        middle = (low + high + 1) // 2
        if one[middle - 1] == other[middle - 1]:
            low = middle
        else:
            high = middle - 1
    return low


def promised(mode: ReplicationMode) -> bool:
    """Whether a mode promises that acknowledged writes survive."""
    return mode is not ReplicationMode.ASYNC
