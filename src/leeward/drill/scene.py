"""Where a fault is injected and what it did: the types that faults are built from. Not here: the faults."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from leeward.core.values import App, Region
from leeward.drill.access import Applied, Faults, Fleet, Pods
from leeward.drill.judge import Expectation
from leeward.drill.ledger import Operation, Outcome
from leeward.drill.load import Load
from leeward.drill.measure import Moment, Span
from leeward.ports.clock import Clock

RECOVERY_TIMEOUT_S = 30.0
FLOWING_S = 1.5
"""Writes have resumed when acknowledgements kept coming for this long."""
FLOW_GAP_S = 0.6
POLL_S = 0.05

Undo = Callable[[], Awaitable[object]]


class SetupError(Exception):
    """The fleet was not ready for this fault; the run is inconclusive."""


@dataclass(slots=True)
class Scene:
    """Where a fault is injected, and the means to inject it."""

    faults: Faults
    fleet: Fleet
    load: Load
    clock: Clock
    app: App
    primary: Region
    regions: tuple[Region, ...]
    """Every region but the primary's, nearest to it first."""
    lease_s: float
    lasts_s: float
    """How long a recurring fault lasts."""
    every_s: float
    """Interval of a recurring fault, where the user can set it."""
    pods: Pods
    rng: random.Random
    """Seeded: the same drill makes the same choices."""
    progress: Callable[[str], None]
    undo: list[Undo] = field(default_factory=list)

    async def clear(self) -> None:
        """Undo what was injected and not undone yet, in reverse order."""
        while self.undo:
            await self.undo.pop()()

    async def wait(self, seconds: float) -> None:
        """Wait while the fault is in force. Raises the load's error if it has failed."""
        until_s = self.clock.now_s() + seconds
        while (left_s := until_s - self.clock.now_s()) > 0:
            self.load.check()
            await asyncio.sleep(min(left_s, POLL_S))

    async def writes_resume(self, since_s: float, without: frozenset[Region]) -> bool:
        """Wait until writes sent since then are acknowledged steadily; False when they are not in time."""
        give_up_s = self.clock.now_s() + RECOVERY_TIMEOUT_S
        while self.clock.now_s() < give_up_s:
            if self._flowing(since_s, without):
                return True
            await self.wait(POLL_S)
        return False

    def _flowing(self, since_s: float, without: frozenset[Region]) -> bool:
        now_s = self.clock.now_s()
        earlier_s = now_s
        for attempt in reversed(self.load.attempts):
            if attempt.done_s < since_s or earlier_s - attempt.done_s > FLOW_GAP_S:
                break
            if (
                attempt.operation is Operation.WRITE
                and attempt.outcome is Outcome.ACKNOWLEDGED
                and attempt.gateway not in without
                and attempt.sent_s >= since_s
            ):
                earlier_s = attempt.done_s
        return now_s - earlier_s >= FLOWING_S


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedFault:
    """What was injected, as the measurement needs it."""

    fault: Moment
    lost_regions: frozenset[Region] = frozenset()
    resumed_s: float | None = None
    silent_from_s: float | None = None
    """From here until the fault is cleared no region may acknowledge a write."""
    fenced_from_s: float | None = None
    """From here until the fault is cleared no lost region may acknowledge a write."""
    ineligible: frozenset[Region] = frozenset()
    explained: str | None = None
    recurring: bool = False
    """It was injected repeatedly."""
    broken: tuple[str, ...] = ()
    """Rules that were broken while the fault lasted."""

    def silence(self, cleared_s: float) -> Span | None:
        """Return the span in which no region may have acknowledged a write."""
        return None if self.silent_from_s is None else Span(self.silent_from_s, cleared_s)

    def fenced(self, cleared_s: float) -> Span | None:
        """Return the span in which no lost region may have acknowledged a write."""
        return None if self.fenced_from_s is None else Span(self.fenced_from_s, cleared_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault."""

    name: str
    summary: str
    """What is injected."""
    must: str
    """What must hold."""
    expected: Expectation
    inject: Callable[[Scene], Awaitable[InjectedFault]]
    hold: Callable[[Scene, InjectedFault], Awaitable[InjectedFault]]
    """Wait while the fault lasts; clear it where resuming is part of the fault."""
    lasts_s: float | None = None
    """Default duration of a recurring fault; None: it is injected once."""


def moment(applied: Applied) -> Moment:
    """Return when a fault was applied."""
    return Moment(applied.at_unix_s, applied.at_boot_s)


async def until_writes_resume(scene: Scene, injected: InjectedFault) -> InjectedFault:
    """Hold a fault until clients of the remaining regions are served again."""
    await scene.writes_resume(injected.fault.at_boot_s, injected.lost_regions)
    return injected
