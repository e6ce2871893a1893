"""Measure how long commands take from the shell to the shell: the median of several runs, by wall and by processor.

    python benchmarks/commands/measure.py [--runs 9] [--files examples/payments] [--region us-east-1]

``status`` and ``get`` ask the world that runs; without one only ``validate`` is measured. Exit status 1: a median is
above the target.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

LEEWARD = Path(sys.executable).with_name("leeward")
TARGET_S = 0.5


@dataclass(frozen=True, slots=True)
class Measured:
    """The medians of one command."""

    wall_s: float
    cpu_s: float

    @property
    def met(self) -> bool:
        """Whether the target is met, by the wall."""
        return self.wall_s <= TARGET_S


def measure(arguments: list[str], runs: int) -> Measured | None:
    """Run a command several times; None when it fails."""
    walls, cpus = [], []
    for _ in range(runs):
        began_s, before = time.monotonic(), os.times()
        result = subprocess.run([LEEWARD, *arguments], capture_output=True, check=False)
        after = os.times()
        if result.returncode != 0:
            return None
        walls.append(time.monotonic() - began_s)
        cpus.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return Measured(statistics.median(walls), statistics.median(cpus))


def main() -> int:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--files", default="examples/payments")
    parser.add_argument("--region", default="us-east-1")
    options = parser.parse_args()
    commands = (["--help"], ["validate", "-f", options.files], ["status"], ["get", "pods", "-r", options.region])
    met = True
    print(f"{'':<40}{'wall s':>8}{'CPU s':>8}   target {TARGET_S:g} s")
    for arguments in commands:
        found = measure(arguments, options.runs)
        line = f"leeward {' '.join(arguments)}"
        if found is None:
            print(f"{line:<40}{'-':>8}{'-':>8}   failed: is a world running?")
            continue
        met = met and found.met
        print(f"{line:<40}{found.wall_s:>8.2f}{found.cpu_s:>8.2f}   {'met' if found.met else 'missed'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
