"""What a writer of the world's tests measures."""

import threading
import time
from pathlib import Path

from tests.world.running import Running, Writer


class Stalling(Running):
    """Acknowledges at once, but for one write that takes its time."""

    def __init__(self, stall_s: float) -> None:
        super().__init__("none", Path(), Path())
        self._stall_s = stall_s
        self.written = 0
        self.past_it = threading.Event()

    def pay(self, region: str, key: str) -> bool:
        self.written += 1
        if self.written == 3:
            time.sleep(self._stall_s)
        if self.written > 3:
            self.past_it.set()
        return True


def test_the_longest_gap_between_two_acknowledged_writes_is_measured() -> None:
    world = Stalling(0.5)
    with Writer(world, "eu", "w") as writer:
        assert world.past_it.wait(30)
    assert writer.longest_gap_s >= 0.5
    assert writer.failed == 0
