"""Whether the machine was overloaded while a drill ran."""

import os
import subprocess
import sys

import pytest

from leeward.drill import host_load
from leeward.drill.host_load import HostLoad
from tests.kit.waiting import block_until


@pytest.mark.parametrize(
    ("got", "overloaded"),
    [
        pytest.param(HostLoad(2.0, 0.5), False, id="quiet"),
        pytest.param(HostLoad(2.0, 3.9), False, id="busy"),
        pytest.param(HostLoad(2.0, 9.0), True, id="overloaded"),
        pytest.param(HostLoad(0.0, 0.0), False, id="not counted here"),
    ],
)
def test_overloaded(got: HostLoad, overloaded: bool) -> None:
    assert (got.because is not None) is overloaded


def test_the_reason_has_both_times() -> None:
    because = HostLoad(1.0, 1.0).because or HostLoad(3.0, 10.0).since(HostLoad(1.0, 1.0)).because
    assert because == "the machine was overloaded: the drill waited 9.0 s for a CPU and ran for 2.0 s"


def test_a_thread_that_shares_its_cpu_waits() -> None:
    """With a busy process on the same CPU."""
    before = os.sched_getaffinity(0)
    one = min(before)
    busy = f"import os\nos.sched_setaffinity(0, {{{one}}})\nfor _ in range(10**10): pass"
    with subprocess.Popen([sys.executable, "-c", busy]) as other:
        try:
            os.sched_setaffinity(0, {one})
            since = host_load.sample()
            block_until(
                lambda: host_load.sample().since(since),
                accept=lambda got: got.ran_s >= 0.2 and got.waited_s >= 0.1,
                every_s=0,
            )
        finally:
            os.sched_setaffinity(0, before)
            other.kill()
