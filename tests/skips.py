"""Tests that this machine cannot run are left out, and the summary says how many, why, and how to have them."""

from collections.abc import Sequence

import pytest

LEFT_OUT = pytest.StashKey[dict[str, tuple[int, str]]]()


def leave_out(
    config: pytest.Config, items: list[pytest.Item], those: Sequence[pytest.Item], what: str, why: str
) -> None:
    """Take those out of the items; ``report`` says so under the same ``what``."""
    items[:] = [item for item in items if item not in those]
    config.hook.pytest_deselected(items=those)
    config.stash.setdefault(LEFT_OUT, {})[what] = len(those), why


def report(terminalreporter: pytest.TerminalReporter, config: pytest.Config, what: str) -> None:
    """Report what was left out, if anything was."""
    count, why = config.stash.get(LEFT_OUT, {}).get(what, (0, ""))
    if count:
        terminalreporter.section(f"{what}: left out", yellow=True)
        terminalreporter.write_line(f"{count} tests did not run: {why}")
