"""Output: data to stdout, progress and problems to stderr; colour only where it is enabled."""

import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:  # the package around it imports pydantic: too slow for help
    from leeward.base.problem import Problem


class Colour(StrEnum):
    """The value of ``--color``."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Style(StrEnum):
    """The few styles we use, as ANSI codes."""

    BAD = "31"
    GOOD = "32"
    WARNING = "33"
    STRONG = "1"
    FAINT = "2"


def _coloured(stream: TextIO, colour: Colour) -> bool:
    """Decide once per stream. NO_COLOR beats ``--color``, which beats FORCE_COLOR."""
    if os.environ.get("NO_COLOR") or colour is Colour.NEVER:
        return False
    if colour is Colour.ALWAYS or os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


@dataclass(frozen=True, slots=True)
class Console:
    """The terminal of one command."""

    colour: Colour = Colour.AUTO
    started_s: float = field(default_factory=time.monotonic)

    def data(self, text: str) -> None:
        """Print the answer."""
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()

    def clear(self) -> None:
        """Begin a new page, on a terminal."""
        if sys.stdout.isatty():
            sys.stdout.write("\x1b[H\x1b[2J")

    def progress(self, text: str) -> None:
        """Print a progress line, with the seconds since the command began."""
        passed_s = time.monotonic() - self.started_s
        self.note(f"{self.mark(f'{passed_s:6.1f}s', Style.FAINT, to=sys.stderr)}  {text}")

    def note(self, text: str) -> None:
        """Print a line that is not part of the answer."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def problems(self, problems: "Iterable[Problem]") -> None:
        """Print problems in their standard form."""
        for number, problem in enumerate(problems):
            style = Style.BAD if problem.severity == "error" else Style.WARNING
            head, *rest = str(problem).splitlines()
            if number:
                self.note("")
            self.note("\n".join([self.mark(head, style, to=sys.stderr), *rest]))

    def heading(self, text: str) -> None:
        """Print a heading."""
        self.note("\n" + self.mark(text, Style.STRONG, to=sys.stderr))

    def mark(self, text: str, style: Style, *, to: TextIO | None = None) -> str:
        """Return the text in a style, where colour is enabled."""
        stream = sys.stdout if to is None else to
        return f"\x1b[{style}m{text}\x1b[0m" if _coloured(stream, self.colour) else text
