import subprocess
import sys

import pytest

from .conftest import LEEWARD

ASK = "import sys; from leeward.cli.completion import main; sys.exit(main())"


def ask(*words: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-c", ASK, *words], capture_output=True, text=True, timeout=200, check=True
    )
    return result.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["switch"], "switchover", id="a verb"),
        pytest.param(["fault", "fr"], "freeze", id="a verb of a group"),
        pytest.param(["mode", "payments", ""], "quorum", id="a value"),
        pytest.param(["status", "--wa"], "--watch", id="an option"),
    ],
)
def test_kubectl_is_told_what_may_come_next(words: list[str], expected: str) -> None:
    *found, directive = ask(*words)
    assert expected in found
    assert directive == ":4"


def test_where_a_directory_belongs_the_shell_completes_files() -> None:
    assert ask("up", "")[-1] == ":0"


def test_shells_get_their_own_script() -> None:
    # It asks which shell it was started by.
    result = subprocess.run(
        ["bash", "-c", '"$0" --show-completion; exit $?', LEEWARD],
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    assert "complete" in result.stdout
