"""One command at a time changes a world's files."""

from pathlib import Path

import pytest

from leeward.operate.exclusive import alone
from leeward.operate.outcome import OperationError


def test_a_second_command_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    with alone(tmp_path, "first"):
        second = alone(tmp_path, "nothing was applied")
        with pytest.raises(OperationError, match="nothing was applied"):
            second.__enter__()
    with alone(tmp_path, "again"):
        pass
