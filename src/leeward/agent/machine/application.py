"""What one agent remembers of one application between events."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from leeward.core import progress
from leeward.core.progress import ProgressRecord
from leeward.core.settings import AppSettings
from leeward.core.tally import Deposed
from leeward.core.timers import margin_s
from leeward.core.values import (
    InstanceReport,
    InstanceStatus,
    Order,
    Phase,
    Promise,
    Region,
    Rejoin,
    Role,
    Sender,
    WalPosition,
)
from leeward.ports.gateway import Address, Carried

# One point every so often is enough to tell a lag in tenths of a second.
LAG_RESOLUTION_S = 0.1
LAG_HISTORY = 300
# Without an answer of the API server nothing is known about pods; a region that starts so counts as having none.
PODS_UNSEEN_S = 10.0


@dataclass(slots=True)
class Application:
    """Observations, and which orders and proposals are under way.

    Always true: each field is written by one module, which its group names; the others call a function of that module.
    """

    settings: AppSettings

    # Written here.
    instance: InstanceStatus | None = None
    reported_at_s: float = 0.0
    silent_since_s: float | None = None
    pods: tuple[Address, ...] = ()
    pods_seen: bool = False
    """This agent has looked at the pods."""
    pods_before: int = 0
    """How many were ready according to the agent before this one,"""
    pods_before_until_s: float = 0.0
    """which stands until then, unless this agent has looked."""
    patient_until_s: float = 0.0
    """Until then, the gateway keeps its routes while this agent has not looked at the pods."""
    lease_before_s: float = 0.0
    """The lease that the agent before this one stated, and"""
    lease_before_until_s: float = 0.0
    """until when its last heartbeat may still let the instance write."""
    progress: ProgressRecord | None = None
    """How far the primaries' WAL was, while this region's is the primary: newer than the store's."""
    progress_epoch: int = 0
    """The epoch that ``progress`` goes on under."""
    progress_written: WalPosition | None = None
    """The last point of the record that was sent to the store, under this epoch."""
    progress_due_at_s: float = 0.0
    lag_history: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=LAG_HISTORY))
    wal_arrived: dict[Region, tuple[int, float]] = field(default_factory=dict)
    """Each standby's LSN while it streams from the primary, and when it last grew."""
    carried: Carried = Carried()
    """How the gateway carried the application's traffic when its paths were used last."""
    broken_paths: Mapping[Region, str] = field(default_factory=dict)
    """Those paths that failed twice in a row, and why."""

    # Written by the machine.
    because: str = ""
    deposed: Deposed | None = None
    """The primary whose return would show that its failover was needless."""

    # Written by orders.
    ordering: Order | None = None
    """The order on its way to the instance."""
    order_after_s: float = 0.0
    fed_until_s: float = 0.0
    fed_at_s: float = 0.0

    # Written by proposals.
    direct_promises: dict[Region, Promise] = field(default_factory=dict)
    """What each region promised: as it sent it here, and our own."""
    proposing: int | None = None
    """The transaction that would replace the topology."""
    propose_after_revision: int = 0
    """A proposal failed at this revision: decide again only when the copy has caught up with it."""
    propose_after_s: float = 0.0
    defect: str | None = None
    """Which invariant the last proposal breaks: it was not sent."""
    promising: int | None = None
    """The transaction that writes our promise."""
    promise_after_s: float = 0.0
    counting: int | None = None
    """The transaction that replaces the tally."""
    count_after_s: float = 0.0

    # Written by traffic.
    routed_epoch: int = 0

    # Written by log.
    rejoin_recorded: Rejoin | None = None

    def report_instance(self, status: InstanceStatus, now_s: float) -> None:
        """Take in a status, and how far the standbys are behind.

        A long poll's answer may arrive after that of a later order; the older of one manager's statuses is void.
        """
        known = self.instance
        if known is not None and known.incarnation == status.incarnation and status.clock_s < known.clock_s:
            return
        self.instance = status
        self.reported_at_s = now_s
        if status.role is Role.PRIMARY and status.wal is not None:
            if not self.lag_history or now_s - self.lag_history[-1][0] >= LAG_RESOLUTION_S:
                self.lag_history.append((now_s, status.wal.lsn))
        else:
            self.lag_history.clear()

    def lose_instance(self) -> None:
        """Take in that the instance manager does not answer."""
        self.instance = None

    def see_pods(self, pods: tuple[Address, ...]) -> None:
        """Take in which pods are ready."""
        self.pods, self.pods_seen = pods, True

    def paths_tried(self, carried: Carried) -> None:
        """Take in how traffic is carried. One failure may be a region that is just being lost; two in a row count."""
        broken = carried.broken
        self.broken_paths = {region: why for region, why in broken.items() if region in self.carried.broken}
        self.carried = carried

    def begin(self, before: InstanceReport | None, patience_s: float, now_s: float) -> None:
        """Take over from the agent before this one: what its last heartbeat stated, if there was one."""
        self.pods_before = before.pods_ready if before is not None else 0
        self.pods_before_until_s = now_s + PODS_UNSEEN_S
        self.patient_until_s = now_s + patience_s
        self.follow_lease(before.lease_s if before is not None else 0.0, now_s)

    def pods_ready(self, now_s: float) -> int:
        """Return how many pods are ready. An agent that starts must not report "none" before it has looked."""
        return self.pods_before if not self.pods_seen and now_s < self.pods_before_until_s else len(self.pods)

    def follow_wal(self, standby: Region, primary: Region | None, report: InstanceReport, now_s: float) -> None:
        """Note by a standby's heartbeat that WAL arrived; one that streams from others proves nothing."""
        if report.role is not Role.STANDBY or report.upstream != primary or report.wal is None:
            self.wal_arrived.pop(standby, None)
            return
        known = self.wal_arrived.get(standby)
        if known is None or report.wal.lsn != known[0]:
            # The first look shows where it is, not that anything arrives.
            self.wal_arrived[standby] = (report.wal.lsn, now_s if known is not None else float("-inf"))

    def follow_lease(self, stated_s: float, now_s: float) -> None:
        """Take over from an agent that stated this lease: its last heartbeat was sent before ``now_s``."""
        self.lease_before_s, self.lease_before_until_s = stated_s, now_s + stated_s + margin_s(stated_s)

    def lease_stated_s(self, now_s: float) -> float:
        """Return the lease that a heartbeat states. While one granted under other settings runs, the longer one."""
        before_s = self.lease_before_s if now_s < self.lease_before_until_s else 0.0
        return max(self.settings.lease_s, before_s)

    def report(self, now_s: float) -> InstanceReport:
        """Return what the region's heartbeat reports about it."""
        status, wanted, pods = self.instance, self.settings.pods_wanted, self.pods_ready(now_s)
        lease_s = self.lease_stated_s(now_s)
        if status is None:
            return InstanceReport(
                role=Role.STOPPED,
                epoch=0,
                writable=False,
                wal=None,
                upstream=None,
                healthy=False,
                pods_ready=pods,
                problem="no answer",
                pods_wanted=wanted,
                lease_s=lease_s,
                broken_paths=self.broken_paths,
                answers=False,
            )
        return InstanceReport(
            role=status.role,
            epoch=status.epoch,
            writable=status.writable,
            wal=status.wal,
            upstream=status.upstream,
            healthy=status.problem is None and status.wal is not None,
            pods_ready=pods,
            senders=status.senders,
            orphans=status.orphans,
            problem=status.problem,
            pods_wanted=wanted,
            lease_s=lease_s,
            broken_paths=self.broken_paths,
            weakened=status.weakened,
            disk=status.disk,
            has_data=status.has_data,
            data_regions=status.order.data_regions if status.order is not None else (),
            acks_required=status.order.acks_required if status.order is not None else 0,
        )

    def lags_s(self, now_s: float) -> dict[Region, float]:
        """Return by how many seconds each standby's flushed WAL is behind this primary's."""
        if self.instance is None or self.instance.role is not Role.PRIMARY:
            return {}
        return {sender.region: self._lag_s(sender, now_s) for sender in self.instance.senders if sender.streaming}

    def _lag_s(self, sender: Sender, now_s: float) -> float:
        since_s = now_s
        for at_s, lsn in reversed(self.lag_history):
            if lsn <= sender.flushed_lsn:
                break
            since_s = at_s
        return now_s - since_s

    def follow_progress(self, region: Region, epoch: int, stored: ProgressRecord | None, spacing_s: float) -> None:
        """Take this region's primary's last report into the record, which goes on from the store's.

        Also before it is promoted: so the record has what it held when its epoch began.
        """
        status = self.instance
        if status is None or status.wal is None:
            return
        if self.progress_epoch != epoch:
            self.progress, self.progress_epoch = stored, epoch
            self.progress_written, self.progress_due_at_s = None, 0.0
        self.progress = progress.advance(
            self.progress, region, status.incarnation, status.clock_s, status.wal, spacing_s
        )

    def progress_to_write(self, interval_s: float, now_s: float) -> ProgressRecord | None:
        """Return the record when the store's is due to be replaced; None while that is as good, or not old yet."""
        record = self.progress
        if record is None or now_s < self.progress_due_at_s or record.wal == self.progress_written:
            return None
        self.progress_written, self.progress_due_at_s = record.wal, now_s + interval_s
        return record

    def write_progress_again(self) -> None:
        """Take nothing of the record for written: the transaction that carried it failed."""
        self.progress_written = None

    def watch_silence(self, *, leads: bool, heard: bool, epoch: int, phase: Phase | None, now_s: float) -> None:
        """Track since when the instance should accept writes and does not.

        While no other region hears this one, it is for the others to find that it is lost.
        """
        instance = self.instance
        writes = instance is not None and instance.writable and instance.epoch == epoch
        if not leads or not heard or writes or phase is Phase.SWITCHING:
            self.silent_since_s = None
        elif self.silent_since_s is None:
            self.silent_since_s = now_s
