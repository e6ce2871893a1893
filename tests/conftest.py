"""What every test may use: golden files, and a quick way to run ``leeward``."""

from collections.abc import Callable, Iterator
from difflib import unified_diff
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.command_line import CommandLine

Golden = Callable[[Path, str], None]

# How long an example takes says how busy the machine is, not whether it holds.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write golden files anew instead of comparing; commit the difference only if you can explain it",
    )


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
        assert text == expected, "\n".join([*difference, "pytest --rewrite writes it anew"])

    return check


@pytest.fixture(scope="session")
def command_line() -> Iterator[CommandLine]:
    """Return what runs many command lines in little time."""
    runner = CommandLine()
    yield runner
    runner.close()
