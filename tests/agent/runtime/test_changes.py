"""Whoever waits for changes gets every one, the newest first, and no other wake-up than at the time asked for."""

import asyncio

from leeward.agent.runtime.changes import Changes


async def test_what_was_published_while_nobody_waited_is_not_missed() -> None:
    changes = Changes()
    seen = changes.version
    changes.publish()
    changes.publish()
    assert await changes.after(seen) == changes.version == seen + 2


async def test_everyone_who_waits_is_woken() -> None:
    changes = Changes()
    waiting = [asyncio.create_task(changes.after(changes.version)) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)
    changes.publish()
    assert await asyncio.gather(*waiting) == [1, 1, 1]


async def test_without_a_change_the_wait_ends_at_its_time() -> None:
    changes = Changes()
    assert await changes.after(changes.version, within_s=0.001) == 0
