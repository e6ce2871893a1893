"""The site's page of all commands, from the command line itself."""

from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from leeward.cli.main import build

HEAD = """\
# Commands

Every command prints this with `-h`. Data goes to stdout, progress and problems to stderr.

| Exit status | Meaning |
|---|---|
| 0 | done, or passed |
| 1 | it ran, and the answer is no: findings, differences, a failed drill |
| 2 | it could not run |
| 4 | inconclusive |
| 5 | timed out |
| 6 | refused as unsafe |
| 130 | ended by Ctrl-C |
"""


def commands() -> Iterator[tuple[str, Any]]:
    """Yield each command with its full name, in the order of `leeward -h`."""
    root = get_command(build())
    yield from _below(root, typer.Context(root, info_name="leeward"), "leeward")


def page() -> str:
    """Return the page in Markdown."""
    return "\n".join([HEAD, *(_section(name, command) for name, command in commands())])


def _below(command: Any, context: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(command, TyperGroup):
        yield name, command
        return
    for each in command.list_commands(context):
        found = command.get_command(context, each)
        if found is not None and not found.hidden:
            yield from _below(found, typer.Context(found, info_name=each, parent=context), f"{name} {each}")


def _section(name: str, command: Any) -> str:
    text, _, examples = (command.help or "").replace("\b\n", "").partition("Examples:\n")
    lines = [f"## {name}", "", text.strip(), ""]
    if examples:
        lines += ["```sh", *(line.removeprefix("  ") for line in examples.rstrip().splitlines()), "```", ""]
    rows = [row for parameter in command.params if (row := _row(parameter))]
    if rows:
        lines += ["| Argument or option | Meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _row(parameter: Any) -> str | None:
    meaning = getattr(parameter, "help", None)
    if not meaning:
        return None
    if parameter.param_type_name == "argument":
        shown = f"`{(parameter.metavar or parameter.name).upper()}`"
    else:
        shown = ", ".join(f"`{each}`" for each in parameter.opts)
    return f"| {shown} | {meaning.replace('|', chr(92) + '|')} |"
