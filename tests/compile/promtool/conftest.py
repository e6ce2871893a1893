"""The tests here need the real promtool; where it is not there, they are left out, and the summary says so."""

from pathlib import Path

import pytest

from tests.compile.promtool.prepare import why_not
from tests.skips import leave_out, report

HERE = Path(__file__).parent
WHAT = "real promtool"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reason = why_not()
    if reason is not None:
        leave_out(config, items, [item for item in items if HERE in item.path.parents], WHAT, reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    report(terminalreporter, config, WHAT)
