"""What the kernel is asked for."""

import subprocess
import sys

PROGRAM = """
import os
from leeward.kit.kernel import run_ahead, run_as_usual
nice = lambda: os.getpriority(os.PRIO_PROCESS, 0)
before = nice()
permitted = run_ahead()
assert (nice() < 0) == permitted or before < 0, (before, nice(), permitted)
run_as_usual()
assert nice() == (0 if permitted or before < 0 else before), nice()
"""


def test_a_process_runs_ahead_of_ordinary_ones_where_that_is_permitted_and_can_give_it_up() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
