"""What every test may use: golden files, and a quick way to run ``leeward``."""

import os
from collections.abc import Callable, Iterator
from difflib import unified_diff
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.command_line import CommandLine
from tests.skips import leave_out, report

Golden = Callable[[Path, str], None]
ROOT_ONLY = "what only root can do"

# How long an example takes says how busy the machine is, not whether it holds.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write golden files anew instead of comparing; commit the difference only if you can explain it",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what acts as another user or mounts a file system when we are not root; the summary says so."""
    those = [item for item in items if item.get_closest_marker("root")]
    if those and os.geteuid() != 0:
        leave_out(config, items, those, ROOT_ONLY, "they act as another user or mount file systems: run them as root")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say plainly what was left out, why, and how to have it."""
    report(terminalreporter, config, ROOT_ONLY)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Return a function that holds a text against a file, or with --rewrite writes the file."""
    rewrite: bool = request.config.getoption("--rewrite")

    def check(path: Path, text: str) -> None:
        if rewrite:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            return
        expected = path.read_text("utf-8") if path.exists() else ""
        difference = unified_diff(expected.splitlines(), text.splitlines(), str(path), "now", lineterm="")
        assert text == expected, "\n".join([*difference, "pytest --rewrite writes it again"])

    return check


@pytest.fixture(scope="session")
def command_line() -> Iterator[CommandLine]:
    """Return what runs many command lines in little time."""
    runner = CommandLine()
    yield runner
    runner.close()
