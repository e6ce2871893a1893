"""The values of the protocol: what is stored, reported and ordered.

Times are seconds. A time called ``*_at_s`` or ``*_until_s`` is on the boot clock of the machine that
wrote it (CLOCK_BOOTTIME: monotonic, and it goes on while the machine is suspended) and has meaning
only there; only durations travel between machines. An LSN is PostgreSQL's 64-bit WAL position.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NewType

from leeward.core.fast_frozen import fast_frozen

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


class FailoverPolicy(StrEnum):
    """What happens when a primary is lost."""

    AUTOMATIC = "automatic"
    """Another region takes over."""
    OBSERVE = "observe"
    """It is decided, logged and counted, and nothing is changed."""


class Phase(StrEnum):
    """Where an application's topology stands."""

    STEADY = "steady"
    ELECTING = "electing"
    """The old primary is deposed; standbys cut from it and promise what they hold."""
    PROMOTING = "promoting"
    """The primary named is elected and has not yet proved a write under its epoch."""
    SWITCHING = "switching"
    """A planned change: the primary drains, then hands over to ``target``."""


@fast_frozen
@dataclass(frozen=True, slots=True)
class WalPosition:
    """How much of history a replica holds. Ordered like Raft's logs: see decision 15.

    By the last epoch recorded in the WAL, then by timeline, then by LSN. A higher LSN of an older epoch, or of a
    timeline that another one branched off, is *less*: it may hold writes that a newer primary never saw.
    """

    epoch: int
    lsn: int
    timeline: int = 0
    """The PostgreSQL timeline that the LSN is on; a promotion begins the next one. 0 where it is not known."""

    @property
    def branch(self) -> tuple[int, int]:
        """What has one writer: on one branch positions differ in length only."""
        return self.epoch, self.timeline

    def __lt__(self, other: "WalPosition") -> bool:
        return (self.epoch, self.timeline, self.lsn) < (other.epoch, other.timeline, other.lsn)

    def __le__(self, other: "WalPosition") -> bool:
        return (self.epoch, self.timeline, self.lsn) <= (other.epoch, other.timeline, other.lsn)

    def __gt__(self, other: "WalPosition") -> bool:
        return (self.epoch, self.timeline, self.lsn) > (other.epoch, other.timeline, other.lsn)

    def __ge__(self, other: "WalPosition") -> bool:
        return (self.epoch, self.timeline, self.lsn) >= (other.epoch, other.timeline, other.lsn)


class Role(StrEnum):
    """What an instance is ordered to be, and what it is."""

    PRIMARY = "primary"
    STANDBY = "standby"
    DETACHED = "detached"
    """In recovery, connected to no upstream: cut. It acknowledges nothing to any primary."""
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


@fast_frozen
@dataclass(frozen=True, slots=True)
class Order:
    """What one instance must be. Level-triggered: it may be repeated; an older epoch is refused."""

    epoch: int
    role: Role
    upstream: Region | None = None
    """The region that a standby streams from."""
    synchronous: Synchronous | None = None
    """Who must acknowledge what a primary commits; a standby carries it for the time after its promotion. None is
    asynchronous."""
    replicas: tuple[Region, ...] | None = None
    """Every region with a replica: a slot is kept for each other one, and those of other regions are dropped.
    None: unknown, and no slot is dropped."""
    founding: bool = False
    """A primary's: the application has never had a database. Only then may one without data create it."""
    data_regions: tuple[Region, ...] = ()
    """The set in force, kept for the case that the store is lost (``recovery``); the instance does not act on it."""
    acks_required: int = 0
    """How many of the set's standbys have each acknowledged write at least."""

    def same_task(self, other: "Order | None") -> bool:
        """Whether an instance does the same for both: only what it keeps for others differs, if anything."""
        kept = replace(self, data_regions=(), acks_required=0)
        return other is not None and kept == replace(other, data_regions=(), acks_required=0)

    def asks_for(self, epoch: int, role: Role, upstream: Region | None = None) -> bool:
        """Whether it asks for this role under this epoch, following this upstream, if any."""
        return (self.epoch, self.role, self.upstream) == (epoch, role, upstream)


@fast_frozen
@dataclass(frozen=True, slots=True)
class Basis:
    """What an order or a lease was decided on. One that arrives late is refused by it."""

    revision: int
    """The topology's revision in the store. Compared within an epoch: a store that was restored begins lower."""
    incarnation: str
    """The instance manager it is addressed to."""
    accepted: int
    """How many orders the instance had accepted: an order replaces the last of them, and no later one."""


@fast_frozen
@dataclass(frozen=True, slots=True)
class Sender:
    """One replica streaming from this instance (a row of pg_stat_replication)."""

    region: Region
    streaming: bool
    flushed_lsn: int
    replayed_lsn: int
    synchronous: bool


@dataclass(frozen=True, slots=True)
class Unread:
    """A table whose orphaned rows could not be read, or not all of them."""

    table: str
    because: str


@dataclass(frozen=True, slots=True)
class Orphans:
    """Committed writes of a deposed primary that the new history does not have, saved before the rewind."""

    epoch: int
    """The epoch they were written under."""
    transactions: int
    rows: int
    path: str
    unread: tuple[Unread, ...] = ()
    """The first few; the file names all."""
    unread_tables: int = 0
    """How many."""
    evidence: str = ""
    """What is kept of the raw data when something was not read: a data directory or WAL; empty for none."""


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
    """Transactions of its own history that were saved."""
    took_s: float
    """From the order until it streamed."""
    unread: int = 0
    """Tables whose orphaned rows could not all be read."""
    unread_first: Unread | None = None
    """The first of them, with the reason."""


@fast_frozen
@dataclass(frozen=True, slots=True)
class Disk:
    """An instance's volume: what it holds at most, and what is free of it."""

    size_bytes: int
    free_bytes: int


@fast_frozen
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
    """The region it is streaming from at this moment; None when it is not streaming."""
    senders: tuple[Sender, ...] = ()
    lease_until_s: float | None = None
    problem: str | None = None
    """Why it cannot settle, in one sentence."""
    orphans: tuple[Orphans, ...] = ()
    rejoined: Rejoin | None = None
    """The last time it did, in this incarnation."""
    revision: int = 0
    """The topology's revision that its last order was decided on; it survives restarts."""
    accepted: int = 0
    """How many orders it has accepted; it survives restarts."""
    weakened: tuple[str, ...] = ()
    """What was found that lets commits return before they are as durable as promised."""
    disk: Disk | None = None
    """Measured every few seconds; None before that."""
    has_data: bool = False
    """There is a data directory, whether PostgreSQL runs on it or not."""

    def basis(self, revision: int) -> Basis:
        """Return what an order is decided on that goes by this status and by a topology of this revision."""
        return Basis(revision, self.incarnation, self.accepted)


@fast_frozen
@dataclass(frozen=True, slots=True)
class Vantage:
    """What one region sees of another one."""

    serving: bool
    """It answered in time and reported that it holds its lease."""
    because: str


@fast_frozen
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
    lease_s: float = 0.0
    """How long, since this heartbeat was sent, the instance may write as a primary."""
    broken_paths: Mapping[Region, str] = field(default_factory=dict)
    """Where its gateway does not carry the application's traffic, and why; its own name: nowhere any more."""
    weakened: tuple[str, ...] = ()
    answers: bool = True
    """The instance manager answers; False: nothing of the rest is known."""
    disk: Disk | None = None
    has_data: bool = False
    data_regions: tuple[Region, ...] = ()
    """The set in force by the order it obeys; empty: not known."""
    acks_required: int = 0
    """That order's, of the same set."""


@fast_frozen
@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a region's agent writes every beat. Committed only while the region's fence is unchanged."""

    region: Region
    incarnation: str
    sequence: int
    fence: int
    """The fence it last acted on."""
    vantages: Mapping[Region, Vantage] = field(default_factory=dict)
    apps: Mapping[App, InstanceReport] = field(default_factory=dict)
    gateway_problem: str | None = None
    """Why the region's gateway does not answer users; None while it does."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What one region's files name, as its agent read them."""

    apps: Mapping[App, tuple[Region, ...]]
    """Each application's data regions, in order of preference."""


@dataclass(frozen=True, slots=True)
class Topology:
    """The truth about one application. Replaced only by compare-and-swap; everything else follows it."""

    app: App
    epoch: int
    phase: Phase
    primary: Region | None
    """In ``electing``: None. No region may write."""
    data_regions: tuple[Region, ...]
    """Every region with a replica, in order of preference."""
    mode: ReplicationMode
    """The promise in force for acknowledged writes."""
    acks_required: int
    """W: standbys that must hold a write before it is acknowledged; 0 in async."""
    because: str
    target: Region | None = None
    """In ``switching``: the region that takes over. In ``electing``: the region that an operator wants."""
    deposed: Region | None = None
    """In ``electing`` and ``promoting``: the primary before."""
    deposed_epoch: int = 0
    """In ``electing``: the epoch it was primary under; 0: unknown."""
    deposed_fence: int = 0
    """In ``electing``: the fence the deposed primary held its last lease under."""
    deposed_lease_over: bool = False
    """In ``electing``: whoever deposed it had already waited its lease out."""
    deposed_lease_s: float = 0.0
    """In ``electing``: how long that lease was."""
    handover_lsn: int | None = None
    """In ``promoting`` after a switchover: where the old primary's WAL ended. The new one must hold it all."""
    favourite: Region | None = None
    """In ``electing``: the region that the other standbys line up behind, once they promised."""
    requested_mode: ReplicationMode | None = None
    """A change of mode under way; None without one."""
    joining: Region | None = None
    """A data region that is being added: it copies and streams, and is counted nowhere (a learner) until ``joint``."""
    leaving: Region | None = None
    """A data region that is being removed; it stays in ``data_regions``, and counts, until the new set is in force."""
    joint: bool = False
    """The primary acknowledges by the rule of the set in force and by that of the next one."""
    joint_lsn: int | None = None
    """While ``joint``: the primary's WAL once its PostgreSQL obeyed both rules. The next set must hold it first."""
    paused: bool = False
    """An operator paused automatic failover."""
    request: str | None = None
    """The operator's request that started what is under way."""
    generation: str = ""
    """The store's generation it was written under; empty: the first."""
    recovering: bool = False
    """In ``electing``: the store went back, or the application was named again. Any data region may have been
    primary and hold a lease still."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One history of the store. A new one is written when an older state of the store took the place of a newer one."""

    identity: str
    because: str
    at_unix_s: float


@dataclass(frozen=True, slots=True)
class Removed:
    """What is kept of a removed application: when it is added again, a later epoch opens."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Promise:
    """A replica's statement: cut from every primary before ``epoch``, holding history up to ``wal``."""

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
    """PrimaryLost: since its last sign of life, on the clock of the agent that decided."""
    asked_by: str | None = None
    """The operator who asked for it; None: an agent decided by itself."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked for a change, as verified by the agent that executes it."""

    by: str
    at_unix_s: float
    """When it was signed."""
    nonce: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """Operators' requests that changed an application lately."""

    requests: tuple[Asked, ...] = ()


@dataclass(frozen=True, slots=True)
class Tally:
    """What is counted of an application's failovers, since it was founded."""

    needless: int = 0
    """Failovers whose deposed primary came back as it was, a short time later."""
    needless_epoch: int = 0
    """Of the last of them."""
    needless_lost: int = 0
    """Transactions that were acknowledged and lost by all of them; only in async."""
    needless_gap_s: float = 0.0
    """How long writes were not accepted because of them, together."""
    withheld: int = 0
    """Failovers that were decided and not started: failover is observed only."""
    withheld_of: str = ""
    """Which loss the last of them was about."""


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
