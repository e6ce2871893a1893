"""Leeward's side: its own drill, as a user runs it, in a fresh world of its own."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Run

DRILL_TIMEOUT_S = 600
ERROR_LINES = 5
MEASURED = (0, 1)
"""Exit statuses of a drill that measured: every objective met, or one missed."""


def measure(directory: Path, region: str, replication: str) -> Run:
    """Run one drill and return what it says of the first write."""
    command = [str(Path(sys.executable).with_name("leeward")), "drill", "region-loss"]
    command += [
        "--region",
        region,
        "--replication",
        replication,
        "--runs",
        "1",
        "--output",
        "json",
        "-f",
        str(directory),
    ]
    # A home of its own: the drill must not use a world that happens to run.
    with tempfile.TemporaryDirectory(prefix="lw-") as home:
        environment = {**os.environ, "LEEWARD_HOME": home}
        try:
            drill = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=DRILL_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return Run(rto_write_s=None, because=str(error))
    if drill.returncode not in MEASURED:
        # Progress comes before the error: code, where, what, why, fix.
        words = [line.strip() for line in drill.stderr.strip().splitlines()[-ERROR_LINES:]]
        return Run(rto_write_s=None, because=f"exit status {drill.returncode}: {' / '.join(words)}")
    try:
        first_write_s = json.loads(drill.stdout)["rto_write_s"]["p50"]
    except (ValueError, KeyError, TypeError) as error:
        return Run(rto_write_s=None, because=f"the drill's output is not what it should be: {error!r}")
    return Run(rto_write_s=first_write_s, because="" if first_write_s is not None else "no write was acknowledged")
