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
    """Return the console that the options before the verb ask for."""
    found = context.obj
    assert isinstance(found, Console)
    return found


def seconds(text: str | float) -> float:
    """Return the seconds that ``30s``, ``500ms`` or ``2m`` mean; a number without a unit is refused."""
    if isinstance(text, float):
        return text
    try:
        return parse_duration_s(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a valid duration; write a number and a unit, such as 30s") from None


World = Annotated[
    str | None,
    typer.Option("--world", envvar="LEEWARD_WORLD", show_default=False, help="The world, when more than one runs."),
]
Directory = Annotated[
    Path, typer.Argument(metavar="DIR", help="Holds the Fleet and the Applications.", show_default=False)
]
App = Annotated[str, typer.Argument(metavar="APP", help="The application.", show_default=False)]
InRegion = Annotated[str, typer.Option("--region", "-r", metavar="REGION", help="The region.", show_default=False)]
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
        raise typer.BadParameter(f"{text!r} is none of {FORMS}")
    return Form(Output(name))


As = Annotated[Form, typer.Option("-o", "--output", parser=form, metavar=FORMS, show_default="table")]
TABLE = Form(Output.TABLE)


def timeout_option(default: str) -> "typer.models.OptionInfo":
    """Return ``--timeout``; ``default`` says in words what the parameter's default is."""
    option: typer.models.OptionInfo = typer.Option(
        "--timeout", parser=seconds, metavar="DURATION", show_default=default, help="How long to wait at most."
    )
    return option
