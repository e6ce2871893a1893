"""How a command ends: its exit status."""

from enum import IntEnum

from leeward.operate.outcome import Outcome


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


STATUS = {
    Outcome.FAILED: ExitCode.COULD_NOT_RUN,
    Outcome.NO: ExitCode.NO,
    Outcome.REFUSED: ExitCode.REFUSED,
    Outcome.TIMED_OUT: ExitCode.TIMED_OUT,
}
"""Of operations without a result."""
