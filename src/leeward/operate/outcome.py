"""How an operation ends other than with its result, and what it reports on the way."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from leeward.base.problem import Problem


class Outcome(StrEnum):
    """Why an operation has no result."""

    FAILED = "failed"
    """It could not be done."""
    NO = "no"
    """It was tried, and the answer is no."""
    REFUSED = "refused"
    """Refused as unsafe."""
    TIMED_OUT = "timed-out"


class OperationError(Exception):
    """The operation ends here, with all its problems at once."""

    def __init__(self, *problems: "Problem", outcome: Outcome = Outcome.FAILED) -> None:
        super().__init__("\n\n".join(map(str, problems)))
        self.problems: Sequence[Problem] = problems
        self.outcome = outcome


class InterruptedByUserError(Exception):
    """The user ended the operation with Ctrl-C; it has cleaned up."""


class Progress(Protocol):
    """Where an operation reports while it runs. ``cli.console.Console`` is one."""

    def progress(self, text: str) -> None:
        """Take in a step, or what is waited for."""

    def note(self, text: str) -> None:
        """Take in what the operator should know besides the result."""
