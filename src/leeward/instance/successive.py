"""Tasks of which one runs at a time: one that was cancelled ends before the next begins."""

import asyncio
from collections.abc import Awaitable, Callable

_CLOSE_S = 2.0


class Successive:
    """Starts and cancels tasks without waiting; the caller's loop must not hang when they do."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._wanted: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        """All tasks that have not ended yet, including the current one."""

    @property
    def running(self) -> bool:
        """Whether the task that was begun last is wanted still, and has not ended."""
        return self._wanted is not None and not self._wanted.done()

    def begin(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run this next; whatever runs is cancelled."""
        self.cancel()
        task = asyncio.create_task(self._after(frozenset(self._ending), work), name=self._name)
        self._wanted = task
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def cancel(self) -> None:
        """Cancel it."""
        if self._wanted is not None:
            self._wanted.cancel()
            self._wanted = None

    async def close(self) -> None:
        """End it, and wait a while until everything has ended. What hangs on a disk ends with PostgreSQL."""
        self.cancel()
        if self._ending:
            await asyncio.wait(self._ending, timeout=_CLOSE_S)

    async def _after(self, before: frozenset[asyncio.Task[None]], work: Callable[[], Awaitable[None]]) -> None:
        if before:
            await asyncio.wait(before)
        await work()
