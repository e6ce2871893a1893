"""Options that many verbs share, and the way from a context to its session.

One rule holds in every verb. An application is APP, the first argument; where that is something else, ``--app APP``.
Files are ``-f DIR``. The form of the answer is ``-o``. A duration is a number with a unit. What is written goes to
``--out OUT``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from leeward.base.units import parse_duration_s, parse_quantity
from leeward.cli.console import Console
from leeward.cli.forms import TABLE, Form, Output
from leeward.cli.session import Session

FORMAT = "Output format."
FILES = "Directory with the Fleet and the Applications."
LISTS = (Output.TABLE, Output.WIDE, Output.JSON, Output.YAML, Output.NAME, Output.JSONPATH)
"""The formats of verbs that list objects by name."""
REPORTS = (Output.TABLE, Output.JSON, Output.YAML, Output.JSONPATH)
"""The formats of the other ones."""


def session(context: typer.Context, world: str | None = None, app: str | None = None, form: Form = TABLE) -> Session:
    """Return the session of a verb, with the console configured by the options before the verb."""
    console = context.obj
    assert isinstance(console, Console)
    return Session(console, world, app, form)


def seconds(text: str | float) -> float:
    """Return a duration such as ``30s``, ``500ms`` or ``2m`` in seconds; a number without a unit is rejected."""
    if isinstance(text, float):
        return text
    try:
        return parse_duration_s(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a valid duration; expected a number and a unit, such as 30s, 500ms or 2m"
        ) from None


def bytes_per_s(text: str | float) -> float:
    """Return a bandwidth such as ``64KiB/s`` in bytes per second."""
    if isinstance(text, float):
        return text
    try:
        found = float(parse_quantity(text.removesuffix("B/s"))) if text.endswith("B/s") else 0.0
    except ValueError:
        found = 0.0
    if found <= 0:
        raise typer.BadParameter(f"{text!r} is not a valid bandwidth; expected a size per second, such as 64KiB/s")
    return found


def form_option(formats: tuple[Output, ...], default: Output = Output.TABLE) -> "typer.models.OptionInfo":
    """Return ``-o`` for a verb with these formats."""
    names = "|".join("jsonpath=TEMPLATE" if each is Output.JSONPATH else each.value for each in formats)
    option: typer.models.OptionInfo = typer.Option(
        "-o",
        "--output",
        parser=_form_of(formats, names),
        metavar=names,
        show_default=default.value,
        help="Output format.",
    )
    return option


def _form_of(formats: tuple[Output, ...], names: str) -> "Callable[[str | Form], Form]":
    def form(text: "str | Form") -> Form:
        if isinstance(text, Form):
            return text
        name, _, template = text.partition("=")
        if name not in formats or bool(template) is not (name == Output.JSONPATH):
            raise typer.BadParameter(f"{text!r} is not a valid output format; expected {names}")
        if template:
            from leeward.cli import jsonpath

            try:
                jsonpath.parse(template)
            except jsonpath.JsonPathError as error:
                raise typer.BadParameter(str(error)) from error
        return Form(Output(name), template)

    return form


def duration_option(name: str, *, default: str | bool, text: str) -> "typer.models.OptionInfo":
    """Return an option that takes a duration; ``default`` is the default as shown in the help."""
    option: typer.models.OptionInfo = typer.Option(
        name, parser=seconds, metavar="DURATION", show_default=default, help=text
    )
    return option


def timeout_option(default: str) -> "typer.models.OptionInfo":
    """Return ``--timeout``."""
    return duration_option("--timeout", default=default, text="Maximum time to wait.")


def files_option(default: str | bool = False, text: str = FILES) -> "typer.models.OptionInfo":
    """Return ``-f``."""
    option: typer.models.OptionInfo = typer.Option("-f", "--files", metavar="DIR", show_default=default, help=text)
    return option


World = Annotated[
    str | None,
    typer.Option(
        "--world",
        envvar="LEEWARD_WORLD",
        metavar="WORLD",
        show_default=False,
        help="Name of the world; needed when several run.",
    ),
]
Files = Annotated[Path, files_option()]
FilesOrArgument = Annotated[Path | None, files_option()]
DirectoryArgument = Annotated[Path | None, typer.Argument(metavar="DIR", hidden=True, show_default=False)]
"""How demo, up and validate took the files before they had ``-f``."""
App = Annotated[str, typer.Argument(metavar="APP", help="Name of the application.", show_default=False)]
AnyApp = Annotated[str | None, typer.Argument(metavar="APP", help="Only this application.", show_default=False)]
OneApp = Annotated[
    str | None, typer.Argument(metavar="APP", help="Name of the application.", show_default="the only one")
]
AppOption = Annotated[
    str | None, typer.Option("--app", metavar="APP", show_default="the only one", help="Name of the application.")
]
InRegion = Annotated[
    str, typer.Option("--region", "-r", metavar="REGION", help="Name of the region.", show_default=False)
]
Confirm = Annotated[
    str | None,
    typer.Option("--confirm", metavar="APP", show_default=False, help="Type the application's name to confirm."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the request without sending it.")]
ListForm = Annotated[Form, form_option(LISTS)]
ReportForm = Annotated[Form, form_option(REPORTS)]


def directory_of(option: Path | None, argument: Path | None) -> Path:
    """Return the files' directory, from ``-f DIR`` or from DIR."""
    if option is not None and argument is not None:
        raise typer.BadParameter("give the files once: -f DIR")
    found = option or argument
    if found is None:
        raise typer.BadParameter("the files are missing: -f DIR")
    return found
