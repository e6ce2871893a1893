"""One command at a time changes the files of a world, whose changes would undo each other otherwise."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leeward.base.problem import Problem
from leeward.operate.outcome import OperationError

LOCK = "changing.lock"


@contextmanager
def alone(directory: Path, what: str) -> Iterator[None]:
    """Keep every other such command away from the world of this directory. Raises OperationError, OSError.

    ``what``: what did not happen, when another one is at work.
    """
    handle = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OperationError(
                Problem(
                    code="being-changed",
                    where=str(directory),
                    what=what,
                    why="another `leeward apply` or `leeward rotate-authorities` changes this world",
                    fix="wait until it has ended, and repeat the command",
                )
            ) from None
        yield
    finally:
        os.close(handle)
