"""Run the command line, as a user does."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_line import LEEWARD, CommandLine

__all__ = ["LEEWARD", "Run", "leeward"]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def leeward(tmp_path: Path, command_line: CommandLine) -> Run:
    """Return a function that runs ``leeward`` with a home of its own."""
    home = tmp_path / "home"

    def run(
        *arguments: str, environment: dict[str, str] | None = None, timeout_s: float = 200
    ) -> subprocess.CompletedProcess[str]:
        inherited = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
        return command_line.run(
            *arguments,
            environment={**inherited, "LEEWARD_HOME": str(home), **(environment or {})},
            directory=Path.cwd(),
            timeout_s=timeout_s,
        )

    return run
