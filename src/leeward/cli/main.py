"""The entry point of ``leeward`` and of the kubectl plugin: build the application, run it, map its outcome."""

import logging
import os
import sys
from typing import Annotated

import typer

from leeward.cli.commands import checks, drills, objects, operators, render, simulate, state, steer, store, worlds
from leeward.cli.console import Colour, Console
from leeward.cli.exits import CommandError, ExitCode, InterruptedByUserError

HELP_WIDTH = 100


def build() -> typer.Typer:
    """Return the whole application; nothing heavy is imported."""
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,  # importing rich would double the time to the first word
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": HELP_WIDTH},
    )
    app.callback()(_leeward)
    for group in (worlds, state, steer, operators, objects, drills, store, simulate, checks, render):
        group.register(app)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata  # takes longer than help

        typer.echo(f"leeward {importlib.metadata.version('leeward')}")
        raise typer.Exit


def _leeward(
    context: typer.Context,
    color: Annotated[
        Colour, typer.Option(help="Colour the output; NO_COLOR in the environment beats this.")
    ] = Colour.AUTO,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Keep one application up across regions: decide, fence, promote, route, and measure it.

    \b
    Start here:
      leeward doctor                  can this machine run a world of three regions?
      leeward demo examples/payments  lose a region under load and measure the impact
      leeward up examples/payments    start a world and keep it
    """
    context.obj = Console(color)


def main() -> int:
    """Run the command line and return the exit status."""
    plugin = os.path.basename(sys.argv[0]).startswith("kubectl-")
    console = Console()
    try:
        build()(prog_name="kubectl leeward" if plugin else "leeward")
    except CommandError as error:
        console.problems(error.problems)
        return error.code
    except InterruptedByUserError:
        return ExitCode.INTERRUPTED
    except Exception as error:
        from leeward.base.problem import ProblemsError  # its package imports pydantic: too slow for help

        if isinstance(error, ProblemsError):
            console.problems(error.problems)
            return ExitCode.COULD_NOT_RUN
        logging.getLogger("leeward").exception("this is a bug in leeward; please report it")
        return ExitCode.COULD_NOT_RUN
    return ExitCode.DONE
