"""Every command that the documentation names exists, with the options it is given."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tools.commands_page import commands

from leeward.drill.faults import FAULTS, SUPERVISOR_KILL

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")])
# The changelog also names commands as they were.
PAGES.remove(ROOT / "CHANGELOG.md")
COMMANDS: dict[tuple[str, ...], Any] = {tuple(name.split()[1:]): command for name, command in commands()}
NAMED = re.compile(r"(?:^|`|\s)(?:\.venv/bin/)?leeward ((?:[a-z]+(?:-[a-z]+)*)[^`\n#|]*)", re.MULTILINE)
CODE = re.compile(r"```sh\n.*?```|`[^`\n]+`", re.DOTALL)
EVERYWHERE = frozenset(("-h", "--help"))


def named_on(page: Path) -> list[str]:
    text = page.read_text("utf-8").replace("\\\n", " ")
    return [found.strip() for code in CODE.findall(text) for found in NAMED.findall(code)]


def unknown(line: str) -> str | None:
    """Return what the command line does not know of a command; None when it knows all of it."""
    words = shlex.split(line)
    command = COMMANDS.get((words[0],)) or COMMANDS.get(tuple(words[:2]))
    if command is None:
        return None if any(name[0] == words[0] for name in COMMANDS) and len(words) == 1 else f"no command: {line}"
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.partition("=")[0] for word in words[1:] if re.match(r"--?[a-z]", word)}
    strange = {each for each in given - options - EVERYWHERE if each[:2] not in options or each.startswith("--")}
    return f"{line}: no option {', '.join(sorted(strange))}" if strange else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_its_commands_exist(page: Path) -> None:
    assert [problem for line in named_on(page) if (problem := unknown(line))] == []


def test_commands_are_found_and_mistakes_too() -> None:
    assert sum(len(named_on(page)) for page in PAGES) > 100
    assert unknown("switchover payments --to us-east-1") is None
    assert unknown("switchover payments --into us-east-1") is not None
    assert unknown("switchback payments") is not None


def test_the_number_of_drills_is_right() -> None:
    assert len({*FAULTS, SUPERVISOR_KILL}) == 15
    for page in ("README.md", "docs/questions.md"):
        assert "fifteen" in (ROOT / page).read_text("utf-8")
