"""Usage errors in the form that every error has: what is wrong, where, why, and how to fix it."""

import re
from typing import Any

import typer

from leeward.base.problem import Problem

UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""The base of every error in the command line itself; typer does not export it."""
_LABEL = re.compile(r"^Invalid value(?: for (.*?))?: (?:Value error, )?")
_SUGGESTION = re.compile(r"[.,]? \(?(Did you mean|Possible options:) (.*?)\??\)?\.?$")


def problem_of(error: Any) -> Problem | None:
    """Return the problem of a usage error; None when only help was asked for, which is its message."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return None
    text = str(error.format_message())
    suggested = _SUGGESTION.search(text)
    text = _SUGGESTION.sub("", text)
    label = _LABEL.match(text)
    if label is not None:
        # Ours name the option themselves, or are about several.
        named = "" if label.group(1) is None else label.group(1).replace("'", "") + ": "
        text = named + text[label.end() :]
    command, usage = _command_of(error.ctx)
    fix = f"{command} --help describes the options"
    return Problem(
        code="usage",
        where="command line",
        what=text[:1].lower() + text[1:].rstrip("."),
        why=f"usage: {usage}",
        fix=fix if suggested is None else f"did you mean {suggested.group(2)}? {fix}",
    )


def _command_of(context: Any) -> tuple[str, str]:
    """Return the command of an error, and its usage on one line; the parser knows no context."""
    if context is None:
        return "leeward", "leeward COMMAND [OPTIONS]"
    return context.command_path, re.sub(r"\s+", " ", context.get_usage().removeprefix("Usage: "))
