"""The audit needs a vulnerability service, and signing OpenSSH; where they are missing both are left out, and told."""

import shutil
from pathlib import Path

import pytest

from tests.skips import leave_out, report
from tests.supply.audit import why_not

HERE = Path(__file__).parent
WHAT = "known vulnerabilities"
SIGNING = "signed releases"


@pytest.hookimpl(trylast=True)  # of what -m left: whoever does not run it does not ask
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    those = [item for item in items if HERE in item.path.parents and item.get_closest_marker("vulnerabilities")]
    reason = why_not() if those else None
    if reason is not None:
        leave_out(config, items, those, WHAT, reason)
    those = [item for item in items if HERE in item.path.parents and item.get_closest_marker("signing")]
    if those and shutil.which("ssh-keygen") is None:
        leave_out(config, items, those, SIGNING, "there is no ssh-keygen; install it (Debian: openssh-client)")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    report(terminalreporter, config, WHAT)
    report(terminalreporter, config, SIGNING)
