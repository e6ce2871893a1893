"""Errors that may pass by themselves: PostgreSQL restarts, or a busy machine answers late and refuses a process."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg

from leeward.instance.postgres.server import CommandError

T = TypeVar("T")

PATIENT_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses between the tries, as long as PostgreSQL takes to restart after a crash."""
ONCE_S = (0.2,)

# Of connections, of conflicts, of resources, and of what an operator or a crash ended.
_CLASSES = ("08", "40", "53", "57")
# The driver does not pass on the code of a refused connection.
_REFUSED_FOR_NOW = ("starting up", "recovery mode", "accepting connections", "shutting down", "clients", "slots")


def may_pass(error: Exception) -> bool:
    """Whether trying again may help. Pure. What took too long, or waits for a lock, is not tried again."""
    if isinstance(error, CommandError):
        return True
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    if error.sqlstate is not None:
        return error.sqlstate[:2] in _CLASSES and not isinstance(error, psycopg.errors.QueryCanceled)
    text = str(error)
    return "FATAL" not in text or any(words in text for words in _REFUSED_FOR_NOW)


async def again(work: Callable[[], Awaitable[T]], pauses_s: tuple[float, ...] = PATIENT_S) -> T:
    """Return what ``work`` returns, tried again after each of these pauses while its error may pass."""
    for pause_s in pauses_s:
        try:
            return await work()
        except (CommandError, psycopg.Error) as error:
            if not may_pass(error):
                raise
        await asyncio.sleep(pause_s)
    return await work()
