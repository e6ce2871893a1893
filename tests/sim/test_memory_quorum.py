"""What the stand-in can do that etcd cannot: lose an answer on purpose, and run the same way every time."""

import asyncio

import pytest

from leeward.ports.quorum import Change, CompactedError, Delete, Entry, Put, QuorumUnavailableError
from leeward.sim.quorum import MemoryQuorum, MemoryStore, Reach


async def collect(quorum: MemoryQuorum, into: list[tuple[str, Change]], name: str) -> None:
    changes = quorum.watch("", after=1)
    while True:
        into.append((name, await anext(changes)))


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_transaction_whose_answer_is_lost_took_effect() -> None:
    store = MemoryStore(("eu", "us"))
    eu, us = store.member("eu"), store.member("us")
    eu.reach = Reach.DEAF
    with pytest.raises(QuorumUnavailableError):
        await eu.transact((), (Put("k", "v"),), timeout_s=1)
    assert (await us.snapshot("", timeout_s=1)).entries == {"k": Entry("v", 2)}


async def test_a_transaction_that_is_cut_off_took_none() -> None:
    store = MemoryStore(("eu", "us"))
    eu, us = store.member("eu"), store.member("us")
    eu.reach = Reach.CUT
    with pytest.raises(QuorumUnavailableError):
        await eu.transact((), (Put("k", "v"),), timeout_s=1)
    assert (await us.snapshot("", timeout_s=1)).entries == {}
    assert (await eu.membership(timeout_s=1)).leader is None


async def test_watchers_are_served_in_the_order_they_came() -> None:
    store = MemoryStore(("eu", "us"))
    eu, us = store.member("eu"), store.member("us")
    seen: list[tuple[str, Change]] = []
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(collect(us, seen, "us")), group.create_task(collect(eu, seen, "eu"))]
        await settle()
        store.transact((), (Put("a", "1"),))
        await settle()
        eu.reach = Reach.CUT
        store.transact((), (Delete("a"),))
        await settle()
        eu.reach = Reach.FULL
        await settle()
        for task in tasks:
            task.cancel()
    first, second = Change(2, {"a": "1"}), Change(3, {"a": None})
    assert seen == [("us", first), ("eu", first), ("us", second), ("eu", second)]


async def test_a_watcher_cut_off_for_too_long_is_told_that_history_is_gone() -> None:
    store = MemoryStore(("eu", "us"))
    eu = store.member("eu")
    eu.reach = Reach.CUT
    for i in range(5):
        store.transact((), (Put("a", str(i)),))
    store.compact(4)
    eu.reach = Reach.FULL
    with pytest.raises(CompactedError):
        await anext(eu.watch("", after=1))
    assert await anext(eu.watch("", after=4)) == Change(5, {"a": "3"})
