import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from leeward.world.client import World, launch
from tests.world import support

UNDECIDED = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[UNDECIDED] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which drills this machine could not decide."""
    if config.stash[UNDECIDED]:
        terminalreporter.section("drills that could not be decided: run them again on a quiet machine", yellow=True)
        for sentence in config.stash[UNDECIDED]:
            terminalreporter.write_line(sentence)


@pytest.fixture
def undecided(pytestconfig: pytest.Config) -> list[str]:
    """What is told at the end of the drills that were safe, and of which no more can be said on this machine."""
    return pytestconfig.stash[UNDECIDED]


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
