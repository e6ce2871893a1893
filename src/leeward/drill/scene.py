"""Where a fault strikes and what it did: the words in which the faults are written. Not here: the faults."""

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
"""Writes go on when acknowledgements kept coming for this long."""
FLOW_GAP_S = 0.6
POLL_S = 0.05

Undo = Callable[[], Awaitable[object]]


class SetupError(Exception):
    """The fleet is not such that this fault could be tried; the run says nothing."""


@dataclass(slots=True)
class Scene:
    """Where a fault strikes, and with what."""

    faults: Faults
    fleet: Fleet
    load: Load
    clock: Clock
    app: App
    primary: Region
    regions: tuple[Region, ...]
    """Every region, nearest to the primary first, the primary's own left out."""
    lease_s: float
    lasts_s: float
    """For how long a fault that strikes again and again goes on."""
    every_s: float
    """How often it strikes, where that is for the user to say."""
    pods: Pods
    chance: random.Random
    """Seeded: the same drill picks alike."""
    say: Callable[[str], None]
    undo: list[Undo] = field(default_factory=list)

    async def mend(self) -> None:
        """Undo what was done and not undone yet, the last first."""
        while self.undo:
            await self.undo.pop()()

    async def wait(self, seconds: float) -> None:
        """Let the fault work, and notice when the load has died."""
        until_s = self.clock.now_s() + seconds
        while (left_s := until_s - self.clock.now_s()) > 0:
            self.load.check()
            await asyncio.sleep(min(left_s, POLL_S))

    async def writes_go_on(self, since_s: float, without: frozenset[Region]) -> bool:
        """Wait until writes that began since are acknowledged again and again; False when they are not."""
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
class Injury:
    """What was done, as the measurement needs it."""

    fault: Moment
    lost_regions: frozenset[Region] = frozenset()
    woke_s: float | None = None
    silent_from_s: float | None = None
    """From here until the fault is cleared nobody may acknowledge a write."""
    fenced_from_s: float | None = None
    """From here until the fault is cleared nobody inside the lost regions may acknowledge a write."""
    ineligible: frozenset[Region] = frozenset()
    explained: str | None = None
    recurring: bool = False
    """It struck again and again."""
    broken: tuple[str, ...] = ()
    """Rules that were seen broken while the fault lasted."""

    def silence(self, healing_s: float) -> Span | None:
        """Return while nobody may have acknowledged a write."""
        return None if self.silent_from_s is None else Span(self.silent_from_s, healing_s)

    def fenced(self, healing_s: float) -> Span | None:
        """Return while nobody inside the lost regions may have acknowledged a write."""
        return None if self.fenced_from_s is None else Span(self.fenced_from_s, healing_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault."""

    name: str
    summary: str
    """What is done."""
    must: str
    """What must be true."""
    expected: Expectation
    strike: Callable[[Scene], Awaitable[Injury]]
    hold: Callable[[Scene, Injury], Awaitable[Injury]]
    """Wait as long as the fault is to last; undo it where waking up is part of it."""
    lasts_s: float | None = None
    """For how long it strikes again and again, unless the user says otherwise; None: it strikes once."""


def moment(applied: Applied) -> Moment:
    """Return when a fault was applied."""
    return Moment(applied.at_unix_s, applied.at_boot_s)


async def until_writes_go_on(scene: Scene, injury: Injury) -> Injury:
    """Hold a fault until clients of the regions that are left are served again."""
    await scene.writes_go_on(injury.fault.at_boot_s, injury.lost_regions)
    return injury
