"""One task at a time, also where the one before takes its time to end."""

import asyncio

from leeward.instance.successive import Successive


async def test_the_next_task_begins_when_the_one_before_has_ended() -> None:
    tasks, told = Successive("test"), list[str]()
    begun, may_end, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()
            told.append("the first ended")

    async def skipped() -> None:
        told.append("never wanted any more")

    async def last() -> None:
        told.append("the last began")
        done.set()

    tasks.begin(slow)
    await begun.wait()
    tasks.begin(skipped)
    tasks.begin(last)
    assert tasks.running
    tasks.cancel()
    assert not tasks.running
    tasks.begin(last)
    await asyncio.sleep(0)
    assert told == []
    may_end.set()
    async with asyncio.timeout(10):
        await done.wait()
    assert told == ["the first ended", "the last began"]


async def test_close_waits_for_what_was_cancelled_before() -> None:
    tasks, told = Successive("test"), list[str]()
    begun = asyncio.Event()

    async def slow() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            told.append("ended")

    tasks.begin(slow)
    await begun.wait()
    tasks.cancel()
    await tasks.close()
    assert told == ["ended"]
