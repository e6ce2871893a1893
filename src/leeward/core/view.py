"""What one agent knows about one application at one moment: the only input of a decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from leeward.core.quick import quick
from leeward.core.settings import AppSettings, Timers
from leeward.core.values import (
    Heartbeat,
    InstanceReport,
    InstanceStatus,
    Promise,
    Region,
    Topology,
    Vantage,
    WalPosition,
)


@quick
@dataclass(frozen=True, slots=True)
class Seen:
    """A heartbeat, the revision it was committed at, and when this agent first saw it (its own clock)."""

    heartbeat: Heartbeat
    revision: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Fence:
    """A region's fence; revision 0 when nobody ever wrote it."""

    value: int = 0
    revision: int = 0


@quick
@dataclass(frozen=True, slots=True)
class Progress:
    """How far a primary's WAL was when its heartbeat was seen; (0, 0) when its reign was seen to begin."""

    at_s: float
    wal: WalPosition


@quick
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
    fences: Mapping[Region, Fence] = field(default_factory=dict)
    seen: Mapping[Region, Seen] = field(default_factory=dict)
    deposed_seen_at_s: float = 0.0
    """When the deposed primary's last heartbeat under its old fence was seen."""
    vantages: Mapping[Region, Vantage] = field(default_factory=dict)
    """What this region sees of the others."""
    promises: Mapping[Region, Promise] = field(default_factory=dict)
    """Promises under the topology's epoch."""
    instance: InstanceStatus | None = None
    """This region's instance; None when it has none or cannot reach it."""
    instance_silent_since_s: float | None = None
    """Since when the instance, ordered to be primary, has not accepted writes; None while it does."""
    lease_until_s: float = 0.0
    """Until when this region's committed heartbeats allow its primaries to write."""
    progress: tuple[Progress, ...] = ()
    """The last primary's WAL over time, oldest first."""
    lags_s: Mapping[Region, float] = field(default_factory=dict)
    """On the primary: by how many seconds each standby's flushed WAL is behind."""
    pods_ready: int = 0

    @property
    def leased(self) -> bool:
        """Whether this region may have a writing primary now."""
        return self.now_s < self.lease_until_s

    def report(self, region: Region) -> InstanceReport | None:
        """Return what a region last said of its instance of this application."""
        seen = self.seen.get(region)
        return seen.heartbeat.apps.get(self.app.name) if seen is not None else None

    def alive(self, region: Region) -> bool:
        """Whether a heartbeat of the region was seen within the lease (this region itself: always)."""
        if region == self.me:
            return True
        seen = self.seen.get(region)
        return seen is not None and self.now_s - seen.at_s < self.timers.lease_s
