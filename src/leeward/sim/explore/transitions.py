"""What a transition is, and which ones a search is about."""

from collections.abc import Callable
from typing import NamedTuple

from leeward.core.values import Region
from leeward.instance.machine.steps import Step
from leeward.sim.explore.draft import Draft

Make = Callable[[Draft], None]


class Move(NamedTuple):
    """One transition."""

    name: str
    make: Make
    hears: Region | None = None
    """The region whose watch delivers a change."""


FAULTS = ("crash", "agent-crash", "kill", "isolate", "stall", "slow", "lag", "hang", "busy", "late", "drift")


class Kinds(NamedTuple):
    """What may go wrong, and until when."""

    faults: tuple[str, ...] = FAULTS
    """Kinds, or ``kind:region``."""
    requests: tuple[str, ...] = ()
    """What an operator may ask for: a mode, switchover or failover, or ``switchover:region``."""
    until_tick: int = 1
    """From then on no fault begins and no operator asks."""
    heals: bool = True
    """Whether faults may end before the last tick."""

    def has(self, kind: str, region: Region) -> bool:
        """Whether a fault of this kind may happen to a region."""
        return kind in self.faults or f"{kind}:{region}" in self.faults

    def asks(self, kind: str, region: Region) -> bool:
        """Whether an operator may ask for this, to a region."""
        return kind in self.requests or f"{kind}:{region}" in self.requests


def named(step: Step) -> str:
    """Name a step, and whom it concerns."""
    upstream = getattr(step, "upstream", None)
    return f"{type(step).__name__}" + (f" with {upstream}" if upstream is not None else "")
