"""Options that many verbs share, and the way from a context to its console."""

import typer

from leeward.cli.console import Console


def console(context: typer.Context) -> Console:
    """Return the console that the options before the verb ask for."""
    found = context.obj
    assert isinstance(found, Console)
    return found
