"""Run the real entry point, as a user does."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

LEEWARD = Path(sys.executable).with_name("leeward")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def leeward(tmp_path: Path) -> Run:
    """Return a function that runs ``leeward`` with a home of its own."""
    home = tmp_path / "home"

    def run(
        *arguments: str, environment: dict[str, str] | None = None, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        inherited = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
        return subprocess.run(
            [LEEWARD, *arguments],
            env={**inherited, "LEEWARD_HOME": str(home), **(environment or {})},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    return run
