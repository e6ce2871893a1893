"""What is wrong, said so that it can be fixed: the one form of every error shown to a user."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """Whether a problem stops the command or is only worth knowing."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding. ``str`` gives the form shown in the terminal; the fields are shown elsewhere."""

    code: str
    """Stable: documented, searchable, asserted in tests."""
    where: str
    """File, line and column, or whatever else leads a person to the place."""
    what: str
    why: str
    fix: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        lines = f"where: {self.where}", f"why:   {self.why}", f"fix:   {self.fix}"
        return "\n  ".join([f"{self.severity}[{self.code}]: {self.what}", *lines])


class ProblemsError(Exception):
    """A command cannot go on. Carries all the reasons at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n\n".join(map(str, problems)))
        self.problems = tuple(problems)
