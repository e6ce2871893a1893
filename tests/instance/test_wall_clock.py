"""The guard of a machine whose boot clock stood still, as far as a guest can notice: by its wall clock."""

import threading
import time

from leeward.instance.guard import WALL_AHEAD_S, Guard, Lease
from leeward.kit.kernel import boot_clock_s

BOUND_S = 30.0


class WallClock:
    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.clock_gettime(time.CLOCK_REALTIME) + self.ahead_s


def test_a_lease_is_over_when_the_wall_clock_went_ahead_of_the_boot_clock() -> None:
    wall, killed = WallClock(), threading.Event()
    guard = Guard(lambda: None, wall_clock_s=wall)
    try:
        granted = Lease(1, boot_clock_s() + 600.0)
        guard.extend(granted)
        guard.watch(killed.set)
        wall.ahead_s = WALL_AHEAD_S / 2
        assert not killed.wait(1.0), "a clock that is slewed ends no lease"
        wall.ahead_s = WALL_AHEAD_S + 8.0
        assert killed.wait(BOUND_S)
        assert guard.remaining_s(1) <= 0
        guard.extend(granted)
        assert guard.remaining_s(1) <= 0, "what was granted before is void"
        killed.clear()
        guard.watch(killed.set)
        assert killed.wait(BOUND_S), "the wall clock is still ahead"
        guard.extend(granted)
        assert guard.remaining_s(1) <= 0, "and stays void when PostgreSQL was ended once more"
        guard.extend(Lease(1, granted.until_s + 1.0))
        assert guard.remaining_s(1) > 0
    finally:
        guard.close()
