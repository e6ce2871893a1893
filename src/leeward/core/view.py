"""What one agent knows about one application at one moment: the only input of a decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from leeward.core.fast_frozen import fast_frozen
from leeward.core.progress import Progress
from leeward.core.settings import AppSettings, Timers
from leeward.core.values import (
    Heartbeat,
    InstanceReport,
    InstanceStatus,
    Promise,
    Region,
    Tally,
    Topology,
    Vantage,
)


@fast_frozen
@dataclass(frozen=True, slots=True)
class Seen:
    """A heartbeat, the revision it was committed at, and when this agent first saw it (its own clock)."""

    heartbeat: Heartbeat
    revision: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Fence:
    """A region's fence; revision 0 when it was never written."""

    value: int = 0
    revision: int = 0


@fast_frozen
@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Facts, none of them guessed. ``*_at_s`` are on this agent's own boot clock."""

    now_s: float
    me: Region
    regions: tuple[Region, ...]
    """Every region that has a vote, witnesses too."""
    app: AppSettings
    timers: Timers
    topology: Topology | None
    topology_revision: int
    topology_seen_at_s: float
    generation: str = ""
    """The store's generation; empty: the first."""
    generation_at_unix_s: float = 0.0
    """When it began, by the clock of the agent that replaced the one before; 0 for the first."""
    generation_because: str = ""
    """Why it began, by the same agent; empty for the first."""
    unreadable: str | None = None
    """Why this agent cannot read the topology in the store, which a newer agent wrote; None when it can."""
    removed_epoch: int = 0
    """The epoch at which the application was removed from the store before; 0 when it never was."""
    store_read_at_s: float = 0.0
    """Since when this agent has read the store."""
    fences: Mapping[Region, Fence] = field(default_factory=dict)
    seen: Mapping[Region, Seen] = field(default_factory=dict)
    deposed_seen_at_s: float = 0.0
    """When the deposed primary's last heartbeat under its old fence was seen."""
    deposed_lease_s: float = 0.0
    """The lease that heartbeat states."""
    vantages: Mapping[Region, Vantage] = field(default_factory=dict)
    """What this region sees of the others."""
    promises: Mapping[Region, Promise] = field(default_factory=dict)
    """Promises under the topology's epoch."""
    instance: InstanceStatus | None = None
    """This region's instance; None when it has none or cannot reach it."""
    instance_silent_since_s: float | None = None
    """Since when the instance, ordered to be primary, has not accepted writes; None while it does."""
    lease_until_s: float = 0.0
    """Until when this region is heard, by its own committed heartbeats."""
    writes_until_s: float = 0.0
    """Until when they allow this application's primary here to write: by its own lease, which is no shorter."""
    progress: tuple[Progress, ...] = ()
    """How far the primaries' WAL was over time, as the quorum store has it; oldest first."""
    lags_s: Mapping[Region, float] = field(default_factory=dict)
    """On the primary: by how many seconds each standby's flushed WAL is behind."""
    pods_ready: int = 0
    own_gateway_problem: str | None = None
    """Why this region's own gateway does not answer users; None while it does."""
    tally: Tally = Tally()
    wal_arrived_at_s: Mapping[Region, float] = field(default_factory=dict)
    """When each standby was last heard to hold more WAL than before, streaming from the topology's primary."""
    declared: tuple[Region, ...] | None = None
    """The data regions that a majority of the regions' files name; None while no majority agrees."""

    @property
    def leased(self) -> bool:
        """Whether this region reaches the quorum."""
        return self.now_s < self.lease_until_s

    @property
    def may_write(self) -> bool:
        """Whether this application's primary may write here now."""
        return self.now_s < self.writes_until_s

    def report(self, region: Region) -> InstanceReport | None:
        """Return a region's last report of its instance of this application."""
        seen = self.seen.get(region)
        return seen.heartbeat.apps.get(self.app.name) if seen is not None else None

    def gateway_problem(self, region: Region) -> str | None:
        """Return why a region's gateway does not answer users, by its latest report; None while it does."""
        if region == self.me:
            return self.own_gateway_problem
        seen = self.seen.get(region)
        return seen.heartbeat.gateway_problem if seen is not None else None

    def alive(self, region: Region) -> bool:
        """Whether a heartbeat of the region was seen within the region's lease (this region itself: always)."""
        if region == self.me:
            return True
        seen = self.seen.get(region)
        return seen is not None and self.now_s - seen.at_s < self.timers.lease_s
