"""The guard of a simulated instance: PostgreSQL ends with its lease, whether or not its manager runs."""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from leeward.sim.schedule import Schedule

if TYPE_CHECKING:
    from leeward.sim.database import Instance

# How late the guard's thread kills, and how late the kernel does when the thread stands still.
GUARD_S = (0.001, 0.02)
BACKSTOP_S = (0.01, 0.04)


class Guard:
    """The kernel's timer, set to the end of the lease on the instance's clock."""

    def __init__(
        self, instance: "Instance", schedule: Schedule, chance: Random, virtual: Callable[[float], float]
    ) -> None:
        self._instance = instance
        self._schedule = schedule
        self._chance = chance
        self._virtual = virtual
        self._resumed_at_s = float("-inf")
        self._armed = 0

    def disarm(self) -> None:
        """The process has died: its timer has no further effect."""
        self._armed += 1

    def arm(self) -> None:
        """Set the kernel's timer to the end of the lease."""
        self._armed += 1
        if not self._instance.may_write:
            return
        until_s = self._instance.lease.until_s if self._instance.lease is not None else 0.0
        at_s = max(self._virtual(until_s), self._schedule.now_s)
        self._schedule.at(at_s, self._lease_over, self._armed)

    def _lease_over(self, armed: int) -> None:
        if armed != self._armed or not self._instance.may_write or self._instance.suspended:
            return
        late = BACKSTOP_S if self._instance.process.frozen else GUARD_S
        self._schedule.after(self._chance.uniform(*late), self._kill, armed)

    def _kill(self, armed: int) -> None:
        if armed != self._armed or not self._instance.may_write or self._instance.suspended:
            return
        if self._instance.process.frozen:
            # The kernel's timer ends the manager, and with it PostgreSQL; its container is restarted.
            self._instance.kill()
            self._instance.restart_soon()
            return
        self._instance.stopped_by_guard()

    @property
    def waking(self) -> bool:
        """Whether the kernel's timers may not have fired yet after the machine stood still."""
        return self._schedule.now_s - self._resumed_at_s <= BACKSTOP_S[1]

    def resume(self) -> None:
        """The machine goes on: timers that were due fire within moments."""
        self._instance.suspended = False
        self._resumed_at_s = self._schedule.now_s
        self.arm()
