"""Verbs that need no world: doctor, schema, validate."""

from pathlib import Path
from typing import Annotated

import typer

from leeward.cli.commands.common import console
from leeward.cli.forms import DoctorOutput, Kind


def register(app: typer.Typer) -> None:
    """Add the verbs of this group."""
    app.command()(doctor)
    app.command()(schema)
    app.command()(validate)


def doctor(
    context: typer.Context,
    output: Annotated[
        DoctorOutput, typer.Option("-o", "--output", help="Print a table, only the problems, or JSON.")
    ] = DoctorOutput.TABLE,
) -> None:
    """Check whether this machine can run a world.

    Every problem comes with a fix. Works offline, within three seconds. Exit status 1: something must be fixed first.

    \b
    Examples:
      leeward doctor
      leeward doctor -o short
      leeward doctor -o json | jq '.checks[] | select(.outcome != "ok")'
    """
    from leeward.cli import doctor as examination

    raise typer.Exit(examination.report(console(context), output))


def schema(
    context: typer.Context,
    kind: Annotated[
        Kind | None, typer.Argument(metavar="[fleet|application]", help="Kind to print; default: both.")
    ] = None,
) -> None:
    """Print the JSON Schema of your files, for your editor.

    \b
    Examples:
      leeward schema fleet > fleet.schema.json
      leeward schema | jq keys
    """
    from leeward.cli import files

    console(context).data(files.schema(kind))


def validate(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory with the Fleet and the Applications.")],
) -> None:
    """Check your files and report all errors at once.

    Exit status 1: there are errors.

    \b
    Examples:
      leeward validate examples/payments
    """
    from leeward.cli import files

    raise typer.Exit(files.validate(console(context), directory))
