"""The command with a home of its own, for tests of whole worlds."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tests.kit.waiting import block_until

from .conftest import LEEWARD

PAYMENTS = Path(__file__).parents[2] / "examples" / "payments"
PATIENCE_S = 300
START_S = "250s"
DEMO_S = 600
TRIES = 3
"""Only where a drill says that the machine was overloaded, or could not be set up."""
T = TypeVar("T")


class Leeward:
    """The command, with a home of its own: a short one, since unix sockets live there."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {**os.environ, "LEEWARD_HOME": str(home)}

    def __call__(self, *arguments: str, timeout_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [LEEWARD, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """Return the status, once an agent answers: on a busy machine all may be late for one look."""

        def answered() -> subprocess.CompletedProcess[str] | None:
            result = self("status", "-o", "json")
            assert result.returncode in (0, 1), result.stderr
            return None if result.returncode else result

        document = json.loads(until(answered, lambda: "no agent answers").stdout)
        assert isinstance(document, dict)
        return document

    def done(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Ask until it is done: what is refused or ends early, as while a region is late, is asked again."""
        return block_until(
            lambda: self(*arguments),
            f"leeward {' '.join(arguments)} is done",
            accept=lambda result: result.returncode not in (1, 6),
            within_s=PATIENCE_S,
            every_s=1.0,
        )

    def left(self, but: str = "") -> list[str]:
        """Return what is left of this home's worlds, but for one: files, and processes that know of them."""
        files = [str(path) for path in self.home.iterdir() if path.name != but] if self.home.exists() else []
        return files + [f"process {pid}" for pid in self.processes(but)]

    def processes(self, but: str = "") -> list[int]:
        found = []
        for process in psutil.process_iter():
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if str(self.home) in line and not (but and str(self.home / but) in line):
                found.append(process.pid)
        return found


def at_home() -> Iterator[Leeward]:
    """Yield the command in a new home, which is removed afterwards."""
    home = Path(tempfile.mkdtemp(prefix="lw-"))
    yield Leeward(home)
    shutil.rmtree(home)


# On a busy machine an agent may answer too late, or be without its lease for a moment.
until = partial(block_until, within_s=PATIENCE_S, every_s=0.2)


def primary(leeward: Leeward) -> str:
    """Return where the primary is, once there is one: on a busy machine it may be without its lease for a moment."""

    def known() -> str | None:
        (row,) = leeward.status()["applications"]
        return row["primary"] if row["phase"] == "steady" else None

    return until(known, lambda: leeward("status").stdout)
