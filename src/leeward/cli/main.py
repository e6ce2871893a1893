"""The entry point of ``leeward`` and of the kubectl plugin: build the application, run it, map its outcome."""

import os
import sys
from typing import Annotated

import typer

from leeward.cli.commands import checks, drills, objects, operators, render, simulate, state, steer, store, worlds
from leeward.cli.console import Colour, Console
from leeward.cli.exits import STATUS, ExitCode
from leeward.operate.outcome import InterruptedByUserError, OperationError

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
      leeward doctor                     can this machine run a world of three regions?
      leeward demo -f examples/payments  lose a region under load and measure the impact
      leeward up -f examples/payments    start a world and keep it
    """
    context.obj = Console(color)


def main() -> int:
    """Run the command line and return the exit status."""
    plugin = os.path.basename(sys.argv[0]).startswith("kubectl-")
    console = Console()
    try:
        return _run("kubectl leeward" if plugin else "leeward")
    except OperationError as error:
        console.problems(error.problems)
        return STATUS[error.outcome]
    except InterruptedByUserError:
        return ExitCode.INTERRUPTED
    except Exception as error:
        from leeward.base.problem import ProblemsError  # takes longer than help
        from leeward.cli.usage import UsageError, problem_of

        if isinstance(error, ProblemsError):
            console.problems(error.problems)
        elif isinstance(error, UsageError):
            problem = problem_of(error)
            console.note(str(error)) if problem is None else console.problems([problem])
        else:
            import structlog  # too slow for help

            from leeward.kit import logs

            logs.configure("cli", logs.Form.TEXT)
            log = structlog.get_logger()
            log.exception("this is a bug in leeward; please report it")
        return ExitCode.COULD_NOT_RUN


def _run(name: str) -> int:
    """Run a verb, and return its exit status. Raises what it raises."""
    status = build()(prog_name=name, standalone_mode=False)
    return status if isinstance(status, int) else ExitCode.DONE
