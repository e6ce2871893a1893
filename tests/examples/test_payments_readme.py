"""The example's README names only commands, files and endpoints that exist."""

import os
import re
import shlex
import subprocess
import sys

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from .conftest import EXAMPLE

ROOT = EXAMPLE.parents[1]
README = (EXAMPLE / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
LEEWARD = sorted({line for block in BLOCKS for line in block.splitlines() if line.startswith("leeward ")})
WORDS = [tuple(shlex.split(line)[1:]) for line in LEEWARD]


def test_it_tells_the_two_ways() -> None:
    assert "make demo" in BLOCKS[0].split("\n")
    assert re.search("^demo:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {words[0] for words in WORDS} >= {"doctor", "up", "status", "get", "drill", "switchover", "failover", "down"}


@pytest.mark.parametrize("words", WORDS, ids=[" ".join(words) for words in WORDS])
def test_every_command_is_understood(words: tuple[str, ...]) -> None:
    from leeward.cli.main import build

    verb, arguments = get_command(build()), list(words)
    while isinstance(verb, TyperGroup):
        found = verb.get_command(typer.Context(verb), arguments[0])
        assert found is not None, f"leeward has no verb {arguments[0]}"
        verb = found
        del arguments[0]
    # Parsing refuses unknown options and missing arguments; nothing is run.
    verb.make_context(" ".join(words), arguments)


def test_every_file_it_names_exists() -> None:
    named = re.findall(r"`(service/\w+\.py)`", README)
    assert named
    assert [path for path in named if not (EXAMPLE / path).exists()] == []


def test_every_endpoint_it_names_exists() -> None:
    """Asked of the service itself; nothing listens where its database would be."""
    script = "import payments; print(*{route.path for route in payments.app.routes})"
    environment = {"PATH": os.environ["PATH"], "DATABASE_HOST": "127.0.0.1"}
    printed = subprocess.run(
        [sys.executable, "-c", script],
        cwd=EXAMPLE / "service",
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    exist = {re.sub(r"\{\w+\}", "{id}", path) for path in printed.stdout.split()}
    table = README[README.index("## What the service answers") :]
    named = {path.partition("?")[0] for path in re.findall(r"`(?:GET |POST )?(/[\w/{}?=&]+)`", table)}
    assert named == exist
