"""What one agent remembers of one application between events."""

from collections import deque
from dataclasses import dataclass, field

from leeward.core.settings import AppSettings
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
from leeward.core.view import Progress
from leeward.ports.gateway import Address

# One point every so often is enough to tell a lag in tenths of a second.
LAG_RESOLUTION_S = 0.1
LAG_HISTORY = 300
PROGRESS_HISTORY = 240
NOTHING = WalPosition(0, 0)


@dataclass(slots=True)
class Application:
    """Observations, and which orders and proposals are under way."""

    settings: AppSettings
    instance: InstanceStatus | None = None
    reported_at_s: float = 0.0
    silent_since_s: float | None = None
    pods: tuple[Address, ...] = ()
    pods_seen: bool = False
    """This agent has looked at the pods."""
    pods_before: int = 0
    """How many were ready by the word of the agent before this one."""
    patient_until_s: float = 0.0
    """Until then, pods that were not looked at yet are as the agent before knew them."""
    direct_promises: dict[Region, Promise] = field(default_factory=dict)
    progress: tuple[Progress, ...] = ()
    progress_of: tuple[Region, int] | None = None
    lag_history: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=LAG_HISTORY))
    because: str = ""
    ordering: Order | None = None
    """The order on its way to the instance."""
    order_after_s: float = 0.0
    fed_until_s: float = 0.0
    fed_at_s: float = 0.0
    proposing: int | None = None
    """The transaction that would replace the topology."""
    propose_after_revision: int = 0
    """A proposal failed at this revision: decide again only when the copy has caught up with it."""
    propose_after_s: float = 0.0
    vowing: int | None = None
    """The transaction that writes our promise."""
    vow_after_s: float = 0.0
    routed_epoch: int = 0
    rejoin_told: Rejoin | None = None

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

    def pods_known(self, now_s: float) -> bool:
        """Whether what this agent knows of the pods is to be believed: it has looked, or took too long to."""
        return self.pods_seen or now_s >= self.patient_until_s

    def pods_ready(self, now_s: float) -> int:
        """Return how many pods are ready. An agent that starts must not say "none" before it has looked."""
        return len(self.pods) if self.pods_known(now_s) else self.pods_before

    def report(self, now_s: float) -> InstanceReport:
        """Return what the region's heartbeat says of it."""
        status, wanted, pods = self.instance, self.settings.pods_wanted, self.pods_ready(now_s)
        if status is None:
            return InstanceReport(Role.STOPPED, 0, False, None, None, False, pods, (), (), "no answer", wanted)
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

    def follow_progress(self, primary: Region, epoch: int, at_s: float, wal: WalPosition) -> None:
        """Remember how far the primary's WAL was; a new primary starts a new record.

        Whoever saw the reign begin knows that nothing of it was written before. An agent that started later does not.
        """
        if self.progress_of != (primary, epoch):
            begun = () if self.progress_of is None else (Progress(at_s, NOTHING),)
            self.progress, self.progress_of = begun, (primary, epoch)
        self.progress = (*self.progress[1 - PROGRESS_HISTORY :], Progress(at_s, wal))

    def watch_silence(self, *, leads: bool, heard: bool, epoch: int, phase: Phase | None, now_s: float) -> None:
        """Track since when the instance should accept writes and does not.

        While nobody hears this region, it is for the others to find that it is lost.
        """
        instance = self.instance
        writes = instance is not None and instance.writable and instance.epoch == epoch
        if not leads or not heard or writes or phase is Phase.SWITCHING:
            self.silent_since_s = None
        elif self.silent_since_s is None:
            self.silent_since_s = now_s
