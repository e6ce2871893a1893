"""What an instance manager knows about its order, its PostgreSQL, its disk, and the work under way."""

from dataclasses import dataclass

from leeward.core.values import Order, Region, Rejoin, RejoinMethod, Sender, Synchronous, Unread, WalPosition
from leeward.instance.machine.lineage import Diverged, Lineage


@dataclass(frozen=True, slots=True)
class Duty:
    """The part of PostgreSQL's configuration that changes with the order."""

    upstream: Region | None = None
    synchronous: Synchronous | None = None
    tcp: bool = True
    """Whether it listens for clients and other regions at all."""
    admits: bool = True
    """Whether the application may log in. Sessions that exist are ended by ``CloseAdmission`` only."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a primary has to show: the record of its epoch, and that commits wait for these standbys."""

    epoch: int
    synchronous: Synchronous | None


@dataclass(frozen=True, slots=True)
class Slot:
    """A physical replication slot."""

    name: str
    lost: bool
    """Its WAL is gone."""
    active: bool
    reserves: bool = True
    """It keeps WAL. One that was created on a standby does not, until its region connects."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What PostgreSQL reported of itself in one query. LSNs as integers."""

    in_recovery: bool
    flushed_lsn: int | None
    received_lsn: int | None
    replayed_lsn: int | None
    epoch: int
    synchronous_names: str
    upstream_conninfo: str
    receivers: tuple[int, ...]
    """WAL receiver processes, connected or about to."""
    streaming_from: tuple[str, int] | None
    replay_idle: bool
    """The startup process waits for more WAL."""
    replay_blocked: bool
    """The startup process waits for a session that reads."""
    slots: tuple[Slot, ...]
    senders: tuple[Sender, ...]
    timeline: int = 0
    """Of the last record here, replayed on a standby; 0 where it is not known."""

    @property
    def position(self) -> WalPosition:
        """How much of history is held."""
        return WalPosition(self.epoch, self.end_lsn, self.timeline)

    @property
    def end_lsn(self) -> int:
        """How much history is held: flushed on a primary, received or replayed on a standby."""
        if not self.in_recovery:
            return self.flushed_lsn or 0
        return max(self.received_lsn or 0, self.replayed_lsn or 0)


@dataclass(frozen=True, slots=True)
class State:
    """What the manager keeps across restarts; on disk before a step that relies on it begins."""

    epoch: int = 0
    """The highest epoch accepted; lower ones are refused for ever."""
    order: Order | None = None
    """The last order accepted."""
    revision: int = 0
    """The topology's revision that the last order was decided on."""
    accepted: int = 0
    """How many orders were accepted."""
    stood_down: tuple[int, int] | None = None
    """(epoch, revision) of the last order that ended being the primary."""
    initialised: bool = False
    """Once true, an empty data directory is a loss to report, never a reason for initdb."""
    writable_epoch: int | None = None
    """The last epoch it may have accepted writes under, until it takes another's history. Set before the first
    write is possible."""
    incomplete: bool = False
    """A rewind began, or the data was given up: the data directory can only be replaced."""
    copied_from: Region | None = None
    """Fresh from a copy or a rewind: consistent only once it has streamed from this region."""
    set_aside: str = ""
    """Where data is that PostgreSQL did not start on, until another copy replaced it; empty: nowhere."""
    upstreams: tuple[Region, ...] = ()
    """Every region that has been an upstream: a slot that is named after one is its own, also once the region left."""
    stopped_wal: WalPosition | None = None
    """Where history ended when PostgreSQL was last stopped cleanly on order."""


@dataclass(frozen=True, slots=True)
class PendingRejoin:
    """A rejoin that has not completed yet."""

    because: str
    method: RejoinMethod = RejoinMethod.NOTHING
    copied_bytes: int = 0
    orphaned: int = 0
    unread: int = 0
    unread_first: Unread | None = None


@dataclass(frozen=True, slots=True)
class Leaving:
    """Its own history is being given up for the upstream's; how far that has come."""

    upstream: Region
    own: Lineage
    verdict: Diverged
    orphans_epoch: int | None
    """The epoch whose writes become orphans; None: it wrote nothing of its own."""
    orphans_saved: bool = False
    keep_data: bool = False
    """Not every orphan could be read, so all of the data directory is kept."""
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """What PostgreSQL was when it was stopped by order, until the end of its WAL is known."""

    position: WalPosition
    was_primary: bool


@dataclass(frozen=True, slots=True)
class Memory:
    """What the manager knows while it runs; lost at a restart."""

    recorded_epoch: int | None = None
    """The epoch whose record is the last one in this PostgreSQL's WAL that precedes the application's writes."""
    waited: Proof | None = None
    """Under which a commit was seen waiting for the standbys: the names are in force where commits look."""
    proved_epoch: int | None = None
    """The epoch whose record is acknowledged as the mode demands."""
    written_at_s: float | None = None
    """When a write was last seen committed on the disk here."""
    stalled: bool = False
    """It is primary, and no write was committed for too long."""
    admitted_epoch: int | None = None
    """The epoch under which the application was admitted to this PostgreSQL."""
    restart_closed: bool = False
    """A session of the application could not be ended: PostgreSQL has to be restarted without any."""
    stopped_by_guard: bool = False
    """PostgreSQL was ended with its lease, and has not been started since."""
    settled: bool = False
    problem: str | None = None
    """Why the last step failed."""
    neighbours: tuple[tuple[Region, bool | None], ...] | None = None
    """Which regions answered that they have data; None: that they did not answer."""
    ordered_follow: tuple[int, Region] | None = None
    """(epoch, upstream) of the order to follow that is in force."""
    ordered_follow_at_s: float = 0.0
    trusted: tuple[int, Region] | None = None
    """(epoch, upstream) whose history was found to contain ours."""
    unbroken: bool = False
    """PostgreSQL was stopped cleanly by order, or has followed another region since it started, and has never
    been a primary since: attaching first is right nearly always, and PostgreSQL refuses the rest."""
    led_and_restarted: bool = False
    """A primary once, PostgreSQL has been started as a standby; whether it may stay one is not known yet."""
    starting_since_s: float | None = None
    """Since when PostgreSQL, started in recovery on data without a state, does not answer."""
    failing_since_s: float | None = None
    """Since when PostgreSQL, on such data, has been started again and again without an answer."""
    inconsistent: bool = False
    """It does not become consistent with the WAL that is here: it needs the upstream's."""
    rewind_failed: tuple[int, Region] | None = None
    """Epoch and upstream of a rewind that failed before it changed anything: another try would fail as well."""
    unusable: bool = False
    """PostgreSQL does not start on data without a state, neither alone nor with the upstream's WAL."""
    idle_since_s: float | None = None
    """Since when it has not been streaming although it should."""
    streams_since_s: float = 0.0
    compare_after_s: float = 0.0
    undecided: str | None = None
    """Why the last comparison of histories was inconclusive."""
    foreign: bool = False
    """The upstream holds another database."""
    leaving: Leaving | None = None
    pending_rejoin: PendingRejoin | None = None
    rejoined: Rejoin | None = None
    """How it last rejoined its upstream."""
    replay_idle_since: tuple[int, float] | None = None
    """Since when replay stands still at this LSN, waiting for more."""
    checkpointed: bool = False
    """A checkpoint was taken ahead of the stop that is ordered."""
    ended: Ended | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything one decision is made from. ``now_s`` is on the manager's own monotonic clock."""

    now_s: float
    upstreams: frozenset[Region]
    """The other regions with an instance of this database."""
    state: State
    memory: Memory
    running: bool
    """PostgreSQL's processes exist, whether ready or not."""
    stopping: bool
    """It was asked to stop and has not ended yet: PostgreSQL cannot take that back."""
    seen: Observation | None
    """What it answered just now; None when it did not."""
    streaming_from: Region | None
    has_data: bool
    recovery_signal: bool
    """PostgreSQL would start on its data directory as a standby."""
    duty: Duty | None
    """What PostgreSQL is configured for; None while that is uncertain."""
    may_write: bool
    """PostgreSQL is, or may any moment become, a primary: only its end makes this false again."""
    lease_s: float
    """How long a primary of the order's epoch may still accept writes."""
    closed: bool
    """The application has no session, and gets none."""
    wal_removed: bool = False
    """The upstream of the order no longer has the WAL this instance needs."""
    missing_slots: tuple[Region, ...] = ()
    """Regions of the order without a usable replication slot here."""
    stale_slots: tuple[str, ...] = ()
    """Slots of regions that have no replica any more."""
    rewind_unchanged: bool = False
    """The last rewind of this process failed or was interrupted before it changed the data."""
