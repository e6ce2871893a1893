"""When a fault was applied, on the two clocks drills compare with."""

import time

from leeward.world.model import Applied


def now(pids: tuple[int, ...] = ()) -> Applied:
    """Read both clocks."""
    return Applied(at_unix_s=time.time(), at_boot_s=time.clock_gettime(time.CLOCK_BOOTTIME), pids=pids)
