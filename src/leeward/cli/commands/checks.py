"""Verbs that need no world: doctor, schema, validate."""

from typing import Annotated

import typer

from leeward.cli.commands.common import DirectoryArgument, FilesOrArgument, directory_of, form_option, session
from leeward.cli.forms import TABLE, Form, Kind, Output


def register(app: typer.Typer) -> None:
    """Add the verbs of this group."""
    app.command()(doctor)
    app.command()(schema)
    app.command()(validate)


def doctor(
    context: typer.Context,
    output: Annotated[
        Form, form_option((Output.TABLE, Output.SHORT, Output.JSON, Output.YAML, Output.JSONPATH))
    ] = TABLE,
) -> None:
    """Check whether this machine can run a world.

    Every problem comes with a fix; -o short prints only the problems. Works offline, within three seconds.
    Exit status 1: something must be fixed first.

    \b
    Examples:
      leeward doctor
      leeward doctor -o short
      leeward doctor -o json | jq '.checks[] | select(.outcome != "ok")'
    """
    from leeward.cli import doctor as examination

    raise typer.Exit(examination.report(session(context, form=output)))


def schema(
    context: typer.Context,
    kind: Annotated[
        Kind | None, typer.Argument(metavar="fleet|application", help="Kind to print; default: both.")
    ] = None,
) -> None:
    """Print the JSON Schema of your files, for your editor.

    \b
    Examples:
      leeward schema fleet > fleet.schema.json
      leeward schema | jq keys
    """
    from leeward.cli import files

    session(context).console.data(files.schema(kind))


def validate(context: typer.Context, files: FilesOrArgument = None, directory: DirectoryArgument = None) -> None:
    """Check your files and report all errors at once.

    Exit status 1: there are errors.

    \b
    Examples:
      leeward validate -f examples/payments
    """
    chosen = directory_of(files, directory)
    from leeward.cli import files as checks

    raise typer.Exit(checks.validate(session(context), chosen))
