"""Retry on transient errors: PostgreSQL restarts, or a busy machine answers late or cannot start a process."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg

from leeward.instance.postgres.server import CommandError

T = TypeVar("T")

PATIENT_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses between attempts; together as long as PostgreSQL takes to restart after a crash."""
ONCE_S = (0.2,)

# SQLSTATE classes: connection, transaction rollback, resources, operator intervention (also after a crash).
_CLASSES = ("08", "40", "53", "57")
# The driver does not pass on the code of a refused connection.
_REFUSED_FOR_NOW = ("starting up", "recovery mode", "accepting connections", "shutting down", "clients", "slots")


def is_transient(error: Exception) -> bool:
    """Return whether a retry may help. Pure. Timeouts of statements and locks are not retried."""
    if isinstance(error, CommandError):
        return True
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    if error.sqlstate is not None:
        return error.sqlstate[:2] in _CLASSES and not isinstance(error, psycopg.errors.QueryCanceled)
    text = str(error)
    return "FATAL" not in text or any(words in text for words in _REFUSED_FOR_NOW)


async def retry(work: Callable[[], Awaitable[T]], pauses_s: tuple[float, ...] = PATIENT_S) -> T:
    """Return the result of ``work``, retried after each of these pauses while its error is transient."""
    for pause_s in pauses_s:
        try:
            return await work()
        except (CommandError, psycopg.Error) as error:
            if not is_transient(error):
                raise
        await asyncio.sleep(pause_s)
    return await work()
