"""How a command ends: the exit status, and the problems that it reports."""

from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the package around it imports pydantic: too slow for help
    from leeward.base.problem import Problem


class ExitCode(IntEnum):
    """Exit statuses. 3 is reserved for kubectl's "unchanged"."""

    DONE = 0
    NO = 1
    """It ran, and the answer is no: findings, an objective missed."""
    COULD_NOT_RUN = 2
    INCONCLUSIVE = 4
    TIMED_OUT = 5
    REFUSED = 6
    """Refused as unsafe."""
    INTERRUPTED = 130


class CommandError(Exception):
    """The command ends here, with all its problems at once and this exit status."""

    def __init__(self, *problems: "Problem", code: ExitCode = ExitCode.COULD_NOT_RUN) -> None:
        super().__init__("\n\n".join(map(str, problems)))
        self.problems: Sequence[Problem] = problems
        self.code = code


class InterruptedByUserError(Exception):
    """The user ended the command with Ctrl-C; it has cleaned up."""
