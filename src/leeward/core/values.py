"""The words of the protocol as values: what is stored, reported and ordered.

Times are seconds. A time called ``*_at_s`` or ``*_until_s`` is on the boot clock of the machine that
wrote it (CLOCK_BOOTTIME: monotonic, and it goes on while the machine is suspended) and has meaning
only there; only durations travel between machines. An LSN is PostgreSQL's 64-bit WAL position.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from leeward.core.quick import quick

Region = NewType("Region", str)
App = NewType("App", str)


class ReplicationMode(StrEnum):
    """What an acknowledged write is promised."""

    ASYNC = "async"
    """Committed on the primary; loss after a failover is bounded by the RPO and counted."""
    SYNC = "sync"
    """Also on the first standbys in line; never lost."""
    QUORUM = "quorum"
    """Also on any of the standbys, as many as needed; never lost."""


class Phase(StrEnum):
    """Where an application's topology stands."""

    STEADY = "steady"
    ELECTING = "electing"
    """The old primary is deposed; standbys cut from it and promise what they hold."""
    PROMOTING = "promoting"
    """The primary named is elected and has not yet proved a write under its epoch."""
    SWITCHING = "switching"
    """A planned change: the primary drains, then hands over to ``target``."""


@quick
@dataclass(frozen=True, slots=True, order=True)
class WalPosition:
    """How much of history a replica holds. Ordered as in Raft: last epoch in its WAL, then how far.

    A higher LSN of an older epoch is *less*: it may hold writes that a newer primary never saw.
    """

    epoch: int
    lsn: int


class Role(StrEnum):
    """What an instance is ordered to be, and what it is."""

    PRIMARY = "primary"
    STANDBY = "standby"
    DETACHED = "detached"
    """In recovery, connected to nobody: cut. It acknowledges nothing to any primary."""
    STOPPED = "stopped"


class SynchronousMethod(StrEnum):
    """How PostgreSQL picks who must acknowledge: ``FIRST n (...)`` or ``ANY n (...)``."""

    FIRST = "first"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Synchronous:
    """Which standbys must acknowledge a commit: ``required`` of ``members``."""

    method: SynchronousMethod
    required: int
    members: tuple[Region, ...]


@quick
@dataclass(frozen=True, slots=True)
class Order:
    """What one instance must be. Level-triggered: it may be repeated; an older epoch is refused."""

    epoch: int
    role: Role
    upstream: Region | None = None
    """Whom a standby streams from."""
    synchronous: Synchronous | None = None
    """For a primary: who must acknowledge; None is asynchronous."""


@quick
@dataclass(frozen=True, slots=True)
class Sender:
    """One replica streaming from this instance (a row of pg_stat_replication)."""

    region: Region
    streaming: bool
    flushed_lsn: int
    replayed_lsn: int
    synchronous: bool


@dataclass(frozen=True, slots=True)
class Orphans:
    """Committed writes of a deposed primary that the new history does not have, saved before the rewind."""

    epoch: int
    """The epoch they were written under."""
    transactions: int
    rows: int
    path: str


class RejoinMethod(StrEnum):
    """How an instance that was apart came to the history of its upstream."""

    NOTHING = "nothing"
    """Its own was a part of it."""
    REWIND = "rewind"
    """Only what differs was copied (pg_rewind)."""
    COPY = "copy"
    """All of it was (pg_basebackup)."""


@dataclass(frozen=True, slots=True)
class Rejoin:
    """How a former primary, or one that followed another one, came to follow its upstream."""

    epoch: int
    """Of the order to follow."""
    upstream: Region
    method: RejoinMethod
    because: str
    """Why it could not follow as it was."""
    copied_bytes: int
    orphaned: int
    """Transactions of its own history that were kept aside."""
    took_s: float
    """From the order until it streamed."""


@quick
@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """What the instance manager knows of its PostgreSQL, at ``clock_s`` of its own boot clock."""

    clock_s: float
    incarnation: str
    """Changes when the instance manager restarts."""
    epoch: int
    """The highest epoch it accepted an order under; it survives restarts."""
    role: Role
    order: Order | None
    settled: bool
    """Reality matches the order."""
    activity: str
    """In words: running, starting, rewinding, copying from REGION, stopped by the guard..."""
    writable: bool
    """It accepts writes: primary of its epoch, under a lease."""
    proved: bool
    """The record of its epoch is committed (in sync modes: acknowledged by the standbys too)."""
    wal: WalPosition | None
    """Primary: flushed. Standby: received and flushed, and all of it replayed as far as ``epoch`` goes.
    None while unknown (stopped, copying)."""
    replayed_lsn: int | None
    upstream: Region | None
    """Whom it is streaming from at this moment; None when it streams from nobody."""
    senders: tuple[Sender, ...] = ()
    lease_until_s: float | None = None
    problem: str | None = None
    """Why it cannot settle, in one sentence."""
    orphans: tuple[Orphans, ...] = ()
    rejoined: Rejoin | None = None
    """The last time it did, in this incarnation."""


@quick
@dataclass(frozen=True, slots=True)
class Vantage:
    """What one region sees of another one."""

    serving: bool
    """It answered in time and said that it holds its lease."""
    because: str


@quick
@dataclass(frozen=True, slots=True)
class InstanceReport:
    """The part of an instance's status that other regions decide with."""

    role: Role
    epoch: int
    writable: bool
    wal: WalPosition | None
    upstream: Region | None
    healthy: bool
    pods_ready: int
    senders: tuple[Sender, ...] = ()
    orphans: tuple[Orphans, ...] = ()
    problem: str | None = None
    pods_wanted: int = 0
    """How many pods the region's files ask for at least."""


@quick
@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a region's agent writes every beat. Committed only while nobody bumped the region's fence."""

    region: Region
    incarnation: str
    sequence: int
    fence: int
    """The fence it last acted on."""
    vantages: Mapping[Region, Vantage] = field(default_factory=dict)
    apps: Mapping[App, InstanceReport] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Topology:
    """The truth about one application. Replaced only by compare-and-swap; everything else follows it."""

    app: App
    epoch: int
    phase: Phase
    primary: Region | None
    """In ``electing``: None. Nobody may write."""
    data_regions: tuple[Region, ...]
    """Every region with a replica, in order of preference."""
    mode: ReplicationMode
    """The promise in force for acknowledged writes."""
    acks_required: int
    """W: standbys that must hold a write before it is acknowledged; 0 in async."""
    because: str
    target: Region | None = None
    """In ``switching``: who takes over. In ``electing``: whom an operator wants."""
    deposed: Region | None = None
    """In ``electing`` and ``promoting``: the primary before."""
    deposed_fence: int = 0
    """In ``electing``: the fence the deposed primary held its last lease under."""
    deposed_lease_over: bool = False
    """In ``electing``: whoever deposed it had already waited its lease out."""
    handover_lsn: int | None = None
    """In ``promoting`` after a switchover: where the old primary's WAL ended. The new one must hold it all."""
    favourite: Region | None = None
    """In ``electing``: whom the other standbys line up behind, once they promised."""
    requested_mode: ReplicationMode | None = None
    """A change of mode under way; None when there is none."""
    paused: bool = False
    """An operator forbade automatic failover."""
    request: str | None = None
    """The operator's request that started what is under way."""


@dataclass(frozen=True, slots=True)
class Promise:
    """A replica's word: cut from every primary before ``epoch``, holding history up to ``wal``."""

    region: Region
    app: App
    epoch: int
    wal: WalPosition
    healthy: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """One decision, for the log, the CLI and the page."""

    at_unix_s: float
    region: Region
    app: App | None
    epoch: int
    kind: str
    """CamelCase reason: PrimaryLost, FailoverPrepared, PrimaryElected, PrimaryPromoted..."""
    because: str
    took_s: float | None = None
    """PrimaryLost: since its last sign of life, on the clock of whoever decided."""


@dataclass(frozen=True, slots=True)
class LastDrill:
    """How the last drill of an application ended."""

    drill: str
    replication: str
    verdict: str
    """passed, failed or inconclusive."""
    at_unix_s: float
    passed_at_unix_s: float | None = None
    """When one passed last."""
