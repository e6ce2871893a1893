"""The tests here need the real promtool; where it is not there, they are left out, and the summary says so."""

from pathlib import Path

import pytest

from tests.compile.promtool.prepare import why_not

HERE = Path(__file__).parent
LEFT_OUT = pytest.StashKey[tuple[int, str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reason = why_not()
    if reason is None:
        return
    left_out = [item for item in items if HERE in item.path.parents]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
    config.stash[LEFT_OUT] = len(left_out), reason


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    count, reason = config.stash.get(LEFT_OUT, (0, ""))
    if count:
        terminalreporter.section("real promtool: left out", yellow=True)
        terminalreporter.write_line(f"{count} tests did not run: {reason}")
