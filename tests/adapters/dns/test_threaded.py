"""A DNS server in a thread of its own: whoever starts it may be cancelled meanwhile."""

import asyncio
import threading

import pytest

from leeward.adapters.dns.threaded import ThreadedDnsServer

BOUND_S = 30.0


def never_asked(*question: object) -> None:
    raise AssertionError(f"asked {question}")


@pytest.mark.parametrize("turns", range(6))
async def test_a_start_that_is_cancelled_leaves_no_server(turns: int) -> None:
    server = ThreadedDnsServer("127.0.0.1", 0, never_asked)  # type: ignore[arg-type]
    starting = asyncio.create_task(server.__aenter__())
    for _ in range(turns):
        await asyncio.sleep(0.001)
    starting.cancel()
    ended = await asyncio.gather(starting, return_exceptions=True)
    if ended == [server]:  # it was faster
        await server.__aexit__(None, None, None)
    for thread in threading.enumerate():
        if thread.name == "dns":
            await asyncio.to_thread(thread.join, BOUND_S)
            assert not thread.is_alive(), "a server is left"
