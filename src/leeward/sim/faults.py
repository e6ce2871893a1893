"""What can go wrong, as data: when, what, where, for how long. ``fault_injector`` injects and ends it.

Plain data, so that a failing run can be reported, replayed, and shrunk by leaving faults out.
"""

from dataclasses import dataclass
from enum import StrEnum

from leeward.core.values import Phase, Region


class Kind(StrEnum):
    """The faults, by the names users choose them by."""

    REGION_LOSS = "region-loss"
    REGION_FREEZE = "region-freeze"
    MACHINE_PAUSE = "machine-pause"
    AGENT_KILL = "agent-kill"
    INSTANCE_KILL = "instance-kill"
    DATABASE_CRASH = "database-crash"
    SERVICE_LOSS = "service-loss"
    ISOLATION = "isolation"
    PARTITION = "partition"
    ONE_WAY = "one-way-partition"
    FLAPPING = "flapping"
    BLIP = "blip"
    SLOW_LINK = "slow-link"
    SLOW_DISK = "slow-disk"
    SLOW_REPLICA = "slow-replica"
    LEADER_MOVE = "quorum-leader-move"
    MEMBER_KILL = "quorum-member-kill"
    WATCH_STALL = "watch-stall"
    COMPACTION = "compaction"
    STORE_RESTORE = "quorum-restore"
    STORE_WIPE = "quorum-wipe"
    AMNESIA = "quorum-amnesia"
    CLOCK_DRIFT = "clock-drift"
    CLOCK_JUMP = "wall-clock-jump"
    SWITCHOVER = "switchover"
    FAILOVER = "failover"
    BUSY_CHECKPOINTER = "busy-checkpointer"
    LATE_REQUEST = "late-request"
    VOLUME_LOSS = "volume-loss"
    STATE_LOSS = "state-file-loss"
    WAL_REMOVED = "wal-removed"
    STEP_FAILURE = "step-failure"
    HUNG_DISK = "hung-disk"
    FULL_DISK = "full-disk"
    SETTINGS = "commits-not-waited-for"
    BULK_WRITE = "bulk-write"
    MODE = "mode-change"
    PAUSE = "failover-pause"
    DATA_REGIONS = "data-regions-change"


OPERATORS = frozenset((Kind.SWITCHOVER, Kind.FAILOVER, Kind.MODE, Kind.PAUSE))
HARMLESS = frozenset(
    (
        Kind.BLIP,
        Kind.LEADER_MOVE,
        Kind.COMPACTION,
        Kind.CLOCK_DRIFT,
        Kind.CLOCK_JUMP,
        Kind.AGENT_KILL,
        Kind.MEMBER_KILL,
        Kind.SERVICE_LOSS,
    )
)
"""Those that can be so short that no primary may move. The loss of all pods of a region may last for ever."""


UNFELT = frozenset(
    (Kind.COMPACTION, Kind.CLOCK_DRIFT, Kind.CLOCK_JUMP, Kind.LATE_REQUEST, Kind.SETTINGS, Kind.BULK_WRITE)
)
"""Those that explain no outage."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    at_s: float
    kind: Kind
    where: Region
    other: Region | None = None
    """The link's other end, or where an operator wants the primary."""
    for_s: float = 0.0
    amount: float = 0.0
    """Seconds of extra delay, of flush time, of clock jump, of a backup's age; a rate; how many records (each time);
    which mode; how; 1 for a data region to prefer, or for a full disk on which PostgreSQL still commits."""

    def __str__(self) -> str:
        to = f" and {self.other}" if self.other is not None else ""
        lasting = f" for {self.for_s:.2f} s" if self.for_s else ""
        amount = f" ({self.amount:g})" if self.amount else ""
        return f"{self.kind} {self.where}{to}{lasting}{amount}"


class Who(StrEnum):
    """Which region a triggered fault hits, by its part in the topology that triggers it."""

    PRIMARY = "primary"
    DEPOSED = "deposed"
    TARGET = "target"
    ANY = "any region"


@dataclass(frozen=True, slots=True)
class TriggeredFault:
    """A fault at a bad moment: ``fault.at_s`` after the topology entered a phase for the n-th time."""

    phase: Phase
    occurrence: int
    who: Who
    fault: Fault

    def __str__(self) -> str:
        return f"{self.fault.at_s:.2f} s after {self.phase} no. {self.occurrence}, to {self.who}: {self.fault}"
