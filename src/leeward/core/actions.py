"""What decisions ask for. Orders to the runtime: each may be repeated without harm."""

from dataclasses import dataclass

from leeward.core.fast_frozen import fast_frozen
from leeward.core.values import Promise, Region, Tally, Topology


@dataclass(frozen=True, slots=True)
class Note:
    """A decision worth keeping: its CamelCase reason and why, in a sentence."""

    kind: str
    because: str
    took_s: float | None = None
    """How long the detection took, where it was measured."""


@dataclass(frozen=True, slots=True)
class Propose:
    """Replace the topology, if it is still the one this decision was made on.

    ``bump_fence`` deposes that region in the same transaction; ``unless_heard`` makes it fail when that
    region's heartbeat is newer than the revision given.
    """

    topology: Topology
    expected_revision: int
    notes: tuple[Note, ...]
    bump_fence: Region | None = None
    unless_heard: tuple[Region, int] | None = None


@dataclass(frozen=True, slots=True)
class GivePromise:
    """Record what this region's replica promises, and send it to the other agents."""

    promise: Promise


@dataclass(frozen=True, slots=True)
class Count:
    """Replace the tally, if it is still the one this was counted on, and put the note into the log."""

    tally: Tally
    epoch: int
    note: Note


@dataclass(frozen=True, slots=True)
class RenewGeneration:
    """Replace the store's generation: what was decided on the history before must no longer commit."""

    because: str


Action = Propose | GivePromise | Count | RenewGeneration


@fast_frozen
@dataclass(frozen=True, slots=True)
class Decision:
    """Why, and what to do about it; to do nothing is a decision too."""

    because: str
    actions: tuple[Action, ...] = ()
    retry_at_s: float | None = None
    """When time alone can change this decision (the agent's clock)."""
