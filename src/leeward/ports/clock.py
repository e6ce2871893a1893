"""The only source of time."""

import time
from typing import Protocol


class Clock(Protocol):
    """Measures durations, and gives the time of day."""

    def now_s(self) -> float:
        """Return seconds of the boot clock. Only differences have meaning."""
        ...

    def unix_s(self) -> float:
        """Return seconds since 1970, for people. No decision depends on it."""
        ...


class SystemClock:
    """The machine's clocks. Leases need CLOCK_BOOTTIME: CLOCK_MONOTONIC stops while it sleeps."""

    def now_s(self) -> float:
        """Return seconds since boot, suspension included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def unix_s(self) -> float:
        """Return seconds since 1970."""
        return time.time()
