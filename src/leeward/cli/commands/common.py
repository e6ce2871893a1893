"""Options that many verbs share, and the way from a context to its console."""

from pathlib import Path
from typing import Annotated

import typer

from leeward.base.units import parse_duration_s
from leeward.cli import jsonpath
from leeward.cli.console import Console
from leeward.cli.forms import Form, Output

FORMS = "table|wide|json|yaml|name|jsonpath=TEMPLATE"


def console(context: typer.Context) -> Console:
    """Return the console configured by the options before the verb."""
    found = context.obj
    assert isinstance(found, Console)
    return found


def seconds(text: str | float) -> float:
    """Return a duration such as ``30s``, ``500ms`` or ``2m`` in seconds; a number without a unit is rejected."""
    if isinstance(text, float):
        return text
    try:
        return parse_duration_s(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a valid duration; expected a number and a unit, such as 30s"
        ) from None


World = Annotated[
    str | None,
    typer.Option(
        "--world", envvar="LEEWARD_WORLD", show_default=False, help="Name of the world; needed when several run."
    ),
]
Directory = Annotated[
    Path, typer.Argument(metavar="DIR", help="Directory with the Fleet and the Applications.", show_default=False)
]
App = Annotated[str, typer.Argument(metavar="APP", help="Name of the application.", show_default=False)]
InRegion = Annotated[
    str, typer.Option("--region", "-r", metavar="REGION", help="Name of the region.", show_default=False)
]
Confirm = Annotated[
    str | None,
    typer.Option("--confirm", metavar="APP", show_default=False, help="Type the application's name to confirm."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the request without sending it.")]


def form(text: "str | Form") -> Form:
    """Return what ``-o`` means: a name of ``Output``, or ``jsonpath=TEMPLATE``."""
    if isinstance(text, Form):
        return text
    name, _, template = text.partition("=")
    if name == Output.JSONPATH and template:
        try:
            jsonpath.parse(template)
        except jsonpath.JsonPathError as error:
            raise typer.BadParameter(str(error)) from error
        return Form(Output.JSONPATH, template)
    if name == Output.JSONPATH or name not in tuple(Output) or template:
        raise typer.BadParameter(f"{text!r} is not a valid output format; expected {FORMS}")
    return Form(Output(name))


As = Annotated[Form, typer.Option("-o", "--output", parser=form, metavar=FORMS, show_default="table")]
TABLE = Form(Output.TABLE)


def timeout_option(default: str) -> "typer.models.OptionInfo":
    """Return ``--timeout``; ``default`` is the default as shown in the help."""
    option: typer.models.OptionInfo = typer.Option(
        "--timeout", parser=seconds, metavar="DURATION", show_default=default, help="Maximum time to wait."
    )
    return option
