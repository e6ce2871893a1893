"""One publisher of changes: what reads the machine from beside it waits here, and looks when there is news.

Always true: whoever looks at a version, and waits for the next one, misses no change between the two.
"""

import asyncio
from contextlib import suppress


class Changes:
    """A version that grows with each change. It wakes whoever waits; what changed is to be read where it is kept."""

    def __init__(self) -> None:
        self.version = 0
        self._next = asyncio.Event()

    def publish(self) -> None:
        """Wake everyone who waits."""
        self.version += 1
        waited_for, self._next = self._next, asyncio.Event()
        waited_for.set()

    async def after(self, version: int, *, within_s: float | None = None) -> int:
        """Wait until there is a version after this one, for ``within_s`` at most; return the present version."""
        if self.version == version:
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._next.wait()
        return self.version
