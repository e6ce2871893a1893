"""A real cluster for all tests here; or a line that says why there is none."""

import pytest

from tests.clusters.prepare import why_not
from tests.skips import leave_out, report

WHAT = "real Kubernetes clusters with nodes"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a cluster when there can be none; the summary says so."""
    those = [item for item in items if item.get_closest_marker("cluster")]
    reason = why_not() if those else None
    if reason is not None:
        leave_out(config, items, those, WHAT, reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say plainly what was left out, why, and how to have it."""
    report(terminalreporter, config, WHAT)
