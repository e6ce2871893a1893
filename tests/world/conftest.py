import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from leeward.world.client import World, launch
from tests.world import support
from tests.world.drilled import pytest_terminal_summary, undecided

__all__ = ["home", "pytest_terminal_summary", "undecided", "world"]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home of worlds, short enough for sockets, and empty again when the test ends."""
    path = Path(tempfile.mkdtemp(prefix="lw-"))
    monkeypatch.setenv("LEEWARD_HOME", str(path))
    yield path
    left = [entry.name for entry in path.iterdir()], support.mentioning(str(path))
    shutil.rmtree(path)
    assert left == ([], {})


@pytest.fixture
async def world(home: Path) -> AsyncIterator[World]:
    running = await launch(support.config("first"))
    yield running
    await running.down()
