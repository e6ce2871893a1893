"""Run a command's coroutine: the first Ctrl-C cancels it and lets it clean up, the second one does not."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import TypeVar

from leeward.cli.console import Console
from leeward.cli.exits import ExitCode
from leeward.operate.outcome import InterruptedByUserError

T = TypeVar("T")


def run(work: Coroutine[object, object, T], console: Console, *, leftover: str | None = None) -> T:
    """Run to the end. ``leftover``: how to clean up by hand, shown when the clean-up is skipped.

    Raises InterruptedByUserError after Ctrl-C or SIGTERM.
    """
    return asyncio.run(_guarded(work, console, leftover))


async def _guarded(work: Coroutine[object, object, T], console: Console, leftover: str | None) -> T:
    task = asyncio.ensure_future(work)
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        if interrupted:
            console.note(f"clean-up skipped{f'; to clean up: {leftover}' if leftover else ''}")
            os._exit(ExitCode.INTERRUPTED)
        interrupted = True
        if leftover:
            console.note("stopping; Ctrl-C again skips the clean-up")
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        return await task
    except asyncio.CancelledError:
        if interrupted:
            raise InterruptedByUserError from None
        raise
