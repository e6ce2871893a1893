import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.instance.instances import Fleet, Node

StartFleet = Callable[..., Awaitable[tuple[Node, ...]]]


@pytest.fixture
async def start_fleet() -> AsyncIterator[StartFleet]:
    """Start managers for the named regions, each after ``before`` was called with it; all ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(*regions: str, before: Callable[[Node], object] | None = None) -> tuple[Node, ...]:
            # Short: a unix socket lives below it.
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lwpg-")))
            fleet = Fleet(root, regions)
            stack.push_async_callback(fleet.close)
            for node in fleet.nodes.values() if before is not None else ():
                before(node)
            return await fleet.start()

        yield start
