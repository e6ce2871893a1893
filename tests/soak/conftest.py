import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world.drilled import pytest_terminal_summary, undecided

__all__ = ["home", "pytest_terminal_summary", "undecided"]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home of worlds, short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="ls-") as path:
        monkeypatch.setenv("LEEWARD_HOME", path)
        yield Path(path)
