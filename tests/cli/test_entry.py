"""The entry point itself: help, usage errors, exit statuses."""

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import typer.core
from typer.main import get_command

from leeward.cli.main import build

from .conftest import LEEWARD, Run

COMMANDS = get_command(build())
assert isinstance(COMMANDS, typer.core.TyperGroup)
VERBS = sorted(COMMANDS.commands)


def test_help_lists_every_verb(leeward: Run) -> None:
    result = leeward("--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert [verb for verb in VERBS if f"\n  {verb} " not in result.stdout] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_examples(verb: str) -> None:
    assert f"leeward {verb}" in (COMMANDS.commands[verb].help or "").split("Examples:")[-1]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from leeward.cli.main import build; build()(['--help'], standalone_mode=False);"
        "print('imported', *sys.modules.keys() & set(sys.argv[1:]))"
    )
    heavy = ("aiohttp", "asyncio", "cryptography", "psutil", "pydantic", "rich", "yaml")
    command = [sys.executable, "-c", code, *heavy]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert result.stdout.splitlines()[-1] == "imported"


def test_it_prints_its_version(leeward: Run) -> None:
    result = leeward("--version")
    assert (result.returncode, result.stdout) == (0, f"leeward {importlib.metadata.version('leeward')}\n")


def test_a_wrong_verb_is_a_usage_error(leeward: Run) -> None:
    result = leeward("docter")
    assert (result.returncode, result.stdout) == (2, "")
    assert "doctor" in result.stderr


def test_the_plugin_calls_itself_kubectl(tmp_path: Path) -> None:
    plugin = shutil.copy(LEEWARD, tmp_path / "kubectl-leeward")
    result = subprocess.run([plugin, "--help"], capture_output=True, text=True, check=True, timeout=100)
    assert result.stdout.startswith("Usage: kubectl leeward ")


def test_a_closed_pipe_gives_no_traceback(leeward: Run) -> None:
    result = subprocess.run(
        f"{LEEWARD} doctor -o json | head -c 1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert (result.stdout, result.stderr) == ("{", "")
