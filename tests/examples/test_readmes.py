"""The READMEs of hello and fnp name commands that exist, and those that only print do what they say."""

import os
import re
import shlex
from pathlib import Path

import pytest

from tests.command_line import CommandLine

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = [
    line
    for example in ("hello", "fnp")
    for block in re.findall(r"```sh\n(.*?)```", (EXAMPLES / example / "README.md").read_text("utf-8"), re.DOTALL)
    for line in block.splitlines()
]


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_works(command: str, tmp_path: Path, command_line: CommandLine) -> None:
    program, *arguments = shlex.split(command)
    assert program == "leeward"
    # Trees go to a directory of the test's own; one that is compared is rendered before.
    trees = [each for each in arguments if each.startswith("/tmp/")]
    here = [str(tmp_path / "tree") if each in trees else each for each in arguments]
    if arguments[0] == "diff":
        files = here[here.index("-f") + 1]
        _run(command_line, ["render", "-f", files, "--out", str(tmp_path / "tree")])
    assert _run(command_line, here) or arguments[0] == "diff"


def _run(command_line: CommandLine, arguments: list[str]) -> str:
    ran = command_line.run(*arguments, environment=os.environ, directory=EXAMPLES.parent, timeout_s=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_hello_is_ten_lines() -> None:
    lines = (EXAMPLES / "hello" / "application.yaml").read_text("utf-8").splitlines()
    assert len([line for line in lines if not line.startswith("#")]) <= 10
