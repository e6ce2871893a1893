"""The agent's copy of the quorum store, folded from one snapshot and every change after it.

Always true: the copy is the store as of one revision. So when it holds a region's fence, it holds every
topology written before that fence, and a heartbeat that compares the fence's revision vouches for both.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from leeward.core import keys
from leeward.core.codec import DecodeError, decode
from leeward.core.delays import Delays
from leeward.core.progress import Progress, ProgressRecord
from leeward.core.values import (
    Accepted,
    App,
    Declared,
    Generation,
    Heartbeat,
    LastDrill,
    Phase,
    Promise,
    Record,
    Region,
    Removed,
    Tally,
    Topology,
)
from leeward.core.view import Fence, Seen
from leeward.ports.quorum import Change, Snapshot

RECORDS_KEPT = 1000


# The same few keys several times a second.
@lru_cache(maxsize=1024)
def _parts(fleet: str, key: str) -> tuple[str, ...]:
    """Return a key's path below the fleet's prefix."""
    return tuple(key.removeprefix(keys.fleet_prefix(fleet)).split("/"))


@lru_cache(maxsize=1024)
def _beating(fleet: str, key: str) -> Region | None:
    """Return the region whose heartbeat is under a key."""
    match _parts(fleet, key):
        case ["regions", name, "heartbeat"]:
            return Region(name)
    return None


@dataclass(slots=True)
class StoredTopology:
    """A topology, the revision it was written at, and when this agent saw it.

    Of an election it is when its epoch was first seen: an operator who names another region to elect, again and again,
    must not restart the wait for the old primary.
    """

    topology: Topology
    revision: int
    seen_at_s: float

    def followed_by(self, topology: Topology, revision: int, now_s: float) -> "StoredTopology":
        """Return what is stored after this one."""
        before = self.topology
        goes_on = before.phase is topology.phase is Phase.ELECTING and before.epoch == topology.epoch
        return StoredTopology(topology, revision, self.seen_at_s if goes_on else now_s)


@dataclass(frozen=True, slots=True)
class StoredProgress:
    """How far an application's primaries were, as it is stored and as it is judged."""

    record: ProgressRecord
    points: tuple[Progress, ...]


@dataclass(slots=True)
class StoreCopy:
    """Everything of the fleet that is in the store, decoded."""

    fleet: str
    revision: int = 0
    heard_at_s: float = 0.0
    read_at_s: float = 0.0
    """When the first snapshot of the history in force was taken."""
    generation: str = ""
    """The store's generation; empty: the first."""
    generation_revision: int = 0
    revisions: dict[str, int] = field(default_factory=dict)
    """Of the keys that are never deleted."""
    fences: dict[Region, Fence] = field(default_factory=dict)
    seen: dict[Region, Seen] = field(default_factory=dict)
    seen_under: dict[tuple[Region, int], Seen] = field(default_factory=dict)
    """The last heartbeat of a region under a fence."""
    topologies: dict[App, StoredTopology] = field(default_factory=dict)
    promises: dict[tuple[App, Region], Promise] = field(default_factory=dict)
    progress: dict[App, StoredProgress] = field(default_factory=dict)
    records: deque[tuple[int, Record]] = field(default_factory=lambda: deque(maxlen=RECORDS_KEPT))
    decision_keys: deque[str] = field(default_factory=deque)
    drills: dict[App, LastDrill] = field(default_factory=dict)
    delays: dict[Region, Delays] = field(default_factory=dict)
    """How long each region's agent saw the others fall silent."""
    tallies: dict[App, tuple[Tally, int]] = field(default_factory=dict)
    """What was counted of each application's failovers, and the revision of that."""
    declared: dict[Region, Declared] = field(default_factory=dict)
    declared_at: dict[Region, int] = field(default_factory=dict)
    """The revision that each declaration was written at."""
    accepted: dict[App, tuple[Accepted, int]] = field(default_factory=dict)
    """Operators' requests that took effect lately, and the revision of that list."""
    removed: dict[App, int] = field(default_factory=dict)
    """The last epoch of applications that were removed."""
    generation_at_unix_s: float = 0.0
    """When the generation in force began; 0 for the first."""
    generation_because: str = ""
    """Why it began; empty for the first."""
    undecodable: dict[str, str] = field(default_factory=dict)
    """Why a newer agent's value cannot be read, by key. What was known of it before is out of date."""

    def take(self, snapshot: Snapshot, now_s: float, *, replaced: bool = False) -> None:
        """Start again from a snapshot. Heartbeats in it count as seen now: the careful side.

        ``replaced``: it is of another history, and nothing of the one before counts.
        """
        known = {} if replaced else dict(self.seen)
        known_under = {} if replaced else dict(self.seen_under)
        topologies = {} if replaced else dict(self.topologies)
        if replaced:
            self.seen.clear()
            self.seen_under.clear()
        if not self.revision or replaced:
            self.read_at_s = now_s
        self.generation, self.generation_revision = "", 0
        self.generation_at_unix_s, self.generation_because = 0.0, ""
        self.removed.clear()
        self.undecodable.clear()
        self.revisions.clear()
        self.topologies.clear()
        self.promises.clear()
        self.progress.clear()
        self.drills.clear()
        self.tallies.clear()
        self.delays.clear()
        self.declared.clear()
        self.declared_at.clear()
        self.accepted.clear()
        self.fences.clear()
        self.records.clear()
        self.decision_keys.clear()
        for key in sorted(snapshot.entries):
            entry = snapshot.entries[key]
            self._set(key, entry.value, entry.revision, now_s)
        for region, seen in known.items():
            if region in self.seen and self.seen[region].revision == seen.revision:
                self.seen[region] = seen
        for (region, fence), seen in known_under.items():
            if (found := self.seen_under.get((region, fence))) is None or found.revision == seen.revision:
                self.seen_under[region, fence] = seen
        for app, before in topologies.items():
            if (stored := self.topologies.get(app)) is not None:
                same = stored.revision == before.revision
                self.topologies[app] = before if same else before.followed_by(stored.topology, stored.revision, now_s)
        self.revision, self.heard_at_s = snapshot.revision, now_s

    def newer_than(self, snapshot: Snapshot) -> str | None:
        """Return a key that this copy has seen at a later revision than the snapshot; None without one."""
        entries = snapshot.entries
        return next((k for k, at in self.revisions.items() if k not in entries or entries[k].revision < at), None)

    def identity_of(self, value: str) -> str:
        """Return which generation a value is; a form that cannot be read is one of its own."""
        return _generation(value).identity

    def fold(self, change: Change, now_s: float) -> None:
        """Apply one revision."""
        for key, value in change.entries.items():
            if value is None:
                self._delete(key)
            else:
                self._set(key, value, change.revision, now_s)
        self.revision = max(self.revision, change.revision)
        self.heard_at_s = now_s

    def _set(self, key: str, value: str, revision: int, now_s: float) -> None:
        self.undecodable.pop(key, None)
        try:
            beating = _beating(self.fleet, key)
            if beating is not None:
                heartbeat = decode(Heartbeat, value)
                self.seen[beating] = Seen(heartbeat, revision, now_s)
                self.seen_under[beating, heartbeat.fence] = self.seen[beating]
                self.revisions[key] = revision
                return
            match _parts(self.fleet, key):
                case ["generation"]:
                    begun = _generation(value)
                    self.generation, self.generation_revision = begun.identity, revision
                    self.generation_at_unix_s, self.generation_because = begun.at_unix_s, begun.because
                    self.revisions[key] = revision
                case ["regions", name, what]:
                    self._set_of_region(Region(name), what, key, value, revision)
                case ["apps", name, *what]:
                    self._set_of_app(App(name), what, value, revision, now_s)
                # A repeated one is the same one.
                case ["decisions", _] if key not in self.decision_keys:
                    self.decision_keys.append(key)
                    self.records.append((revision, decode(Record, value)))
        except (DecodeError, ValueError) as error:
            # A newer writer's value: keep what was known, and show it.
            self.undecodable[key] = str(error)

    def _set_of_region(self, region: Region, what: str, key: str, value: str, revision: int) -> None:
        match what:
            case "fence":
                self.revisions[key] = revision
                self.fences[region] = Fence(int(value), revision)
            case "declared":
                self.declared[region] = decode(Declared, value)
                self.declared_at[region] = revision
            case "delays":
                self.delays[region] = decode(Delays, value)

    def _set_of_app(self, app: App, what: Sequence[str], value: str, revision: int, now_s: float) -> None:
        match what:
            case ["topology"]:
                self._take_topology(app, decode(Topology, value), revision, now_s)
            case ["promises", region]:
                self.promises[(app, Region(region))] = decode(Promise, value)
            case ["progress"]:
                record = decode(ProgressRecord, value)
                self.progress[app] = StoredProgress(record, record.points())
            case ["drill"]:
                self.drills[app] = decode(LastDrill, value)
            case ["accepted"]:
                self.accepted[app] = (decode(Accepted, value), revision)
            case ["removed"]:
                self.removed[app] = decode(Removed, value).epoch
            case ["tally"]:
                self.tallies[app] = (decode(Tally, value), revision)

    def _take_topology(self, app: App, topology: Topology, revision: int, now_s: float) -> None:
        known = self.topologies.get(app)
        stored = StoredTopology(topology, revision, now_s)
        self.topologies[app] = stored if known is None else known.followed_by(topology, revision, now_s)

    def _delete(self, key: str) -> None:
        match _parts(self.fleet, key):
            case ["apps", name, "topology"]:
                self.topologies.pop(App(name), None)
            case ["apps", name, "promises", region]:
                self.promises.pop((App(name), Region(region)), None)
            case ["apps", name, "progress"]:
                self.progress.pop(App(name), None)
            case ["apps", name, "drill"]:
                self.drills.pop(App(name), None)
            case ["apps", name, "accepted"]:
                self.accepted.pop(App(name), None)
            case ["apps", name, "tally"]:
                self.tallies.pop(App(name), None)
            case ["decisions", _] if key in self.decision_keys:
                self.decision_keys.remove(key)


def _generation(value: str) -> Generation:
    try:
        return decode(Generation, value)
    except DecodeError:
        return Generation(value, "", 0.0)
