"""Whether the machine, and not the fleet, is to blame."""

import os
import subprocess
import sys
import time

import pytest

from leeward.drill import crowding
from leeward.drill.crowding import Crowding


@pytest.mark.parametrize(
    ("got", "overloaded"),
    [
        pytest.param(Crowding(2.0, 0.5), False, id="quiet"),
        pytest.param(Crowding(2.0, 3.9), False, id="busy"),
        pytest.param(Crowding(2.0, 9.0), True, id="overloaded"),
        pytest.param(Crowding(0.0, 0.0), False, id="not counted here"),
    ],
)
def test_overloaded(got: Crowding, overloaded: bool) -> None:
    assert (got.because is not None) is overloaded


def test_it_says_how_long() -> None:
    because = Crowding(1.0, 1.0).because or Crowding(3.0, 10.0).since(Crowding(1.0, 1.0)).because
    assert because == "the machine was overloaded: the drill itself waited 9.0 s for a processor to run for 2.0 s"


def test_a_thread_that_has_to_share_its_processor_waits() -> None:
    """Beside a process that always has something to do, on the same processor."""
    before = os.sched_getaffinity(0)
    one = min(before)
    busy = f"import os\nos.sched_setaffinity(0, {{{one}}})\nfor _ in range(10**10): pass"
    with subprocess.Popen([sys.executable, "-c", busy]) as other:
        try:
            os.sched_setaffinity(0, {one})
            since, ends_s = crowding.look(), time.monotonic() + 60.0
            while (got := crowding.look().since(since)).ran_s < 0.2 or got.waited_s < 0.1:
                assert time.monotonic() < ends_s, got
        finally:
            os.sched_setaffinity(0, before)
            other.kill()
