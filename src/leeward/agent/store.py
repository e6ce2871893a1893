"""The agent's copy of the quorum store, folded from one snapshot and every change after it.

Always true: the copy is the store as of one revision. So when it holds a region's fence, it holds every
topology written before that fence, and a heartbeat that compares the fence's revision vouches for both.
"""

from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache

from leeward.core import keys
from leeward.core.codec import DecodeError, decode
from leeward.core.values import App, Heartbeat, LastDrill, Promise, Record, Region, Topology
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
    """A topology, the revision it was written at, and when this agent saw it."""

    topology: Topology
    revision: int
    seen_at_s: float


@dataclass(slots=True)
class StoreCopy:
    """Everything of the fleet that is in the store, decoded."""

    fleet: str
    revision: int = 0
    heard_at_s: float = 0.0
    fences: dict[Region, Fence] = field(default_factory=dict)
    seen: dict[Region, Seen] = field(default_factory=dict)
    seen_under: dict[tuple[Region, int], float] = field(default_factory=dict)
    """When the last heartbeat of a region under a fence was seen."""
    topologies: dict[App, StoredTopology] = field(default_factory=dict)
    promises: dict[tuple[App, Region], Promise] = field(default_factory=dict)
    records: deque[tuple[int, Record]] = field(default_factory=lambda: deque(maxlen=RECORDS_KEPT))
    decision_keys: deque[str] = field(default_factory=deque)
    drills: dict[App, LastDrill] = field(default_factory=dict)
    undecodable: dict[str, str] = field(default_factory=dict)

    def take(self, snapshot: Snapshot, now_s: float) -> None:
        """Start again from a snapshot. Heartbeats in it count as seen now: the careful side."""
        known = dict(self.seen)
        self.topologies.clear()
        self.promises.clear()
        self.drills.clear()
        self.fences.clear()
        self.records.clear()
        self.decision_keys.clear()
        for key in sorted(snapshot.entries):
            entry = snapshot.entries[key]
            self._set(key, entry.value, entry.revision, now_s)
        for region, seen in known.items():
            if region in self.seen and self.seen[region].revision == seen.revision:
                self.seen[region] = seen
        self.revision, self.heard_at_s = snapshot.revision, now_s

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
        try:
            beating = _beating(self.fleet, key)
            if beating is not None:
                heartbeat = decode(Heartbeat, value)
                self.seen[beating] = Seen(heartbeat, revision, now_s)
                self.seen_under[beating, heartbeat.fence] = now_s
                return
            match _parts(self.fleet, key):
                case ["regions", name, "fence"]:
                    self.fences[Region(name)] = Fence(int(value), revision)
                case ["apps", name, "topology"]:
                    self.topologies[App(name)] = StoredTopology(decode(Topology, value), revision, now_s)
                case ["apps", name, "promises", region]:
                    self.promises[(App(name), Region(region))] = decode(Promise, value)
                case ["apps", name, "drill"]:
                    self.drills[App(name)] = decode(LastDrill, value)
                # One that is told again is the same one.
                case ["decisions", _] if key not in self.decision_keys:
                    self.decision_keys.append(key)
                    self.records.append((revision, decode(Record, value)))
        except (DecodeError, ValueError) as error:
            # A newer writer's value: keep what was known, and show it.
            self.undecodable[key] = str(error)

    def _delete(self, key: str) -> None:
        match _parts(self.fleet, key):
            case ["apps", name, "topology"]:
                self.topologies.pop(App(name), None)
            case ["apps", name, "promises", region]:
                self.promises.pop((App(name), Region(region)), None)
            case ["decisions", _] if key in self.decision_keys:
                self.decision_keys.remove(key)
