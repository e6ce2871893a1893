"""The lease guard: PostgreSQL does not outlive the lease it accepts writes under.

The manager and ``init`` run ahead of ordinary processes where the kernel permits that, and PostgreSQL does not: on a
busy machine they do not queue behind what they have to end.

Two independent mechanisms, one deadline. A thread kills PostgreSQL when the lease ends. A kernel timer, a little
later, kills the instance manager itself, and with it PostgreSQL (``init``): it works while everything here
is frozen or the thread starves. Both are level-triggered: watching without a lease kills at once.

A virtual machine that was paused from outside (a snapshot, a live migration) may go on with a boot clock that stood
still. What a guest can see of that is its wall clock, once its host or NTP has set it: when it went ahead of the boot
clock since the lease was granted, the lease counts as over. Until then, and where no one sets it, such a machine may
accept writes for the rest of its lease: in the synchronous modes it acknowledges only what the standbys held before
they cut; in async its writes become orphans (docs/concepts/protocol.md).
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from leeward.kit.kernel import KillTimer, boot_clock_s, wall_clock_s

WALL_AHEAD_S = 1.0
"""How far the wall clock may go ahead of the boot clock during a lease: NTP that slews stays far below."""
WALL_LOOK_S = 0.25
BACKSTOP_S = 0.01
"""How much later than the thread the kernel's timer fires.

Measured: PostgreSQL is gone 0-20 ms after it fired, once 32 ms, on a busy machine. ``core.timers.STOP_S`` covers both.
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """Permission for a primary of ``epoch`` to accept writes until ``until_s`` of the boot clock."""

    epoch: int
    until_s: float


class Guard:
    """Holds the lease and ends what it watches when the lease does. Its methods may be called from any thread."""

    def __init__(self, fired: Callable[[], None], *, wall_clock_s: Callable[[], float] = wall_clock_s) -> None:
        """``fired`` is called from the guard's thread after a kill."""
        self._fired = fired
        self._wall_clock_s = wall_clock_s
        self._void_until_s = 0.0
        """Leases up to here were granted before the boot clock stood still."""
        self._wall_offset_s = 0.0
        """The wall clock less the boot clock, as the lease was granted."""
        self._timer = KillTimer()
        self._lease: Lease | None = None
        self._kill: Callable[[], None] | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="lease-guard", daemon=True)
        self._thread.start()

    @property
    def lease(self) -> Lease | None:
        """The last lease, whether it is over or not."""
        return self._lease

    def extend(self, lease: Lease) -> None:
        """Accept a lease. One of the same epoch never shortens, one of an older epoch is ignored."""
        with self._changed:
            held = self._lease
            if lease.until_s <= self._void_until_s:
                return
            if held is not None and (
                lease.epoch < held.epoch or (lease.epoch == held.epoch and lease.until_s <= held.until_s)
            ):
                return
            self._lease = lease
            self._wall_offset_s = self._wall_clock_s() - boot_clock_s()
            self._arm()
            self._changed.notify()

    def remaining_s(self, epoch: int) -> float:
        """Return how long a primary of this epoch may still accept writes; 0 or less: it may not."""
        lease = self._lease
        if lease is None or lease.epoch != epoch:
            return 0.0
        return lease.until_s - boot_clock_s()

    def watch(self, kill: Callable[[], None]) -> None:
        """Call ``kill`` (prompt, harmless to repeat) when the lease ends; at once when it is over."""
        with self._changed:
            self._kill = kill
            self._arm()
            self._changed.notify()

    def release(self) -> None:
        """Stop watching: what was watched has ended."""
        with self._changed:
            self._kill = None
            self._timer.disarm()
            self._changed.notify()

    def close(self) -> None:
        """End the thread. The caller has stopped PostgreSQL before."""
        self.release()
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=5)

    def _boot_clock_stood_still(self) -> bool:
        return self._wall_clock_s() - boot_clock_s() - self._wall_offset_s > WALL_AHEAD_S

    def _until_s(self) -> float:
        return 0.0 if self._lease is None else self._lease.until_s

    def _arm(self) -> None:
        if self._kill is not None:
            # Never in the past: without a lease the thread kills first, and the backstop only backs it up.
            self._timer.arm(max(self._until_s(), boot_clock_s()) + BACKSTOP_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                if self._kill is None:
                    self._changed.wait()
                    continue
                remaining_s = self._until_s() - boot_clock_s()
                stood_still = self._boot_clock_stood_still()
                if remaining_s > 0 and not stood_still:
                    self._changed.wait(min(remaining_s, WALL_LOOK_S))
                    continue
                if stood_still:
                    # What the agent granted before is over too: its clock stood still with ours.
                    self._void_until_s, self._lease = max(self._void_until_s, self._until_s()), None
                self._kill()
                self._kill = None
                self._timer.disarm()
            self._fired()
