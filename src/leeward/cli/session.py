"""What a verb was asked with: the terminal, the fleet, the application, the form of the answer."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from leeward.cli.console import Console
from leeward.cli.forms import TABLE, Form, Output

if TYPE_CHECKING:  # help must not wait for these
    from leeward.operate.worlds import WorldFleet

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """One command. Everything that several verbs take stands here, and nowhere else."""

    console: Console
    world: str | None = None
    """The value of ``--world``: which fleet; None: the only one that runs."""
    app: str | None = None
    """The value of APP."""
    form: Form = TABLE
    """The value of ``-o``."""

    @property
    def application(self) -> str:
        """The application, for verbs that require one."""
        assert self.app is not None
        return self.app

    def run(self, work: "Callable[[WorldFleet], Awaitable[T]]", *, leftover: str | None = None) -> T:
        """Open the fleet, do some work on it, and return the result; Ctrl-C cancels it.

        ``leftover``: how to clean up by hand, shown when a second Ctrl-C skips the clean-up.
        Raises OperationError, ProblemsError, InterruptedByUserError.
        """
        from leeward.cli.running import run
        from leeward.operate.worlds import open_fleet

        async def on_fleet() -> T:
            async with open_fleet(self.world) as fleet:
                return await work(fleet)

        return run(on_fleet(), self.console, leftover=leftover)

    def answer(
        self,
        kind: str,
        body: Mapping[str, object],
        text: Callable[[], str] | None,
        names: Sequence[str] = (),
    ) -> None:
        """Print an answer of ours in the form that was asked for: as a versioned document, or as text."""
        from leeward.cli.render import API_VERSION

        self.print({"apiVersion": API_VERSION, "kind": kind, **body}, text, names)

    def print(
        self,
        document: Mapping[str, object],
        text: Callable[[], str] | None,
        names: Sequence[str] = (),
        *,
        as_yaml: Callable[[], str] | None = None,
    ) -> None:
        """Print a document in the form that was asked for.

        ``text``: its table; None: there is nothing to list. ``as_yaml``: where YAML is not the document itself.
        """
        match self.form.output:
            case Output.JSON:
                self.console.data(json.dumps(document, indent=2))
            case Output.YAML if as_yaml is not None:
                self.console.data(as_yaml())
            case Output.YAML:
                from leeward.cli.render import as_yaml as yaml_text

                self.console.data(yaml_text(document))
            case Output.JSONPATH:
                from leeward.cli import jsonpath

                self.console.data(jsonpath.render(self.form.template, json.loads(json.dumps(document))))
            case Output.NAME:
                if names:
                    self.console.data("\n".join(names))
            case Output.TABLE | Output.WIDE | Output.SHORT:
                if text is not None:
                    self.console.data(text())
