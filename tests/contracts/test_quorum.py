"""What every quorum store must do, etcd and its stand-in alike."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from leeward.adapters.etcd.quorum import EtcdQuorum
from leeward.ports.quorum import (
    Change,
    CompactedError,
    Compare,
    Delete,
    Entry,
    Outcome,
    Put,
    Quorum,
    QuorumUnavailableError,
    Snapshot,
)
from tests.adapters.etcd.cluster import Cluster, cluster
from tests.contracts.quorum_stores import NAMES, Etcd, Store, open_store
from tests.kit.waiting import until

SOON_S = 20.0
WAIT_S = 60.0


@pytest.fixture(
    params=[
        pytest.param("memory"),
        pytest.param("etcd-1", marks=pytest.mark.engine),
        pytest.param("etcd-3", marks=pytest.mark.engine),
    ]
)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
async def members(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, NAMES) as started:
        yield started


async def put(quorum: Quorum, key: str, value: str) -> int:
    """Put, again and again while an election goes on; return the revision of the last one."""
    done = await until(
        lambda: quorum.transact((), (Put(key, value),), timeout_s=SOON_S),
        within_s=WAIT_S,
        every_s=0.05,
        not_yet=(QuorumUnavailableError,),
    )
    return done.revision


class Watch:
    """Collects a watch's changes in a task of its own, as an agent does."""

    def __init__(self, quorum: Quorum, prefix: str, *, after: int) -> None:
        self.changes: list[Change] = []
        self.progress = after
        self._grown = asyncio.Event()
        self._task = asyncio.create_task(self._collect(quorum, prefix, after))

    async def _collect(self, quorum: Quorum, prefix: str, after: int) -> None:
        async for change in quorum.watch(prefix, after=after):
            self.progress = change.revision
            if change.entries:
                self.changes.append(change)
            self._grown.set()

    async def until(self, enough: Callable[["Watch"], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not enough(self):
                self._grown.clear()
                await self._grown.wait()

    async def __aenter__(self) -> "Watch":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_an_empty_store_has_a_revision_and_no_entries(store: Store) -> None:
    assert await store.quorum.snapshot("", timeout_s=SOON_S) == Snapshot(1, {})


async def test_a_snapshot_holds_what_is_under_the_prefix_with_the_revision_of_each(store: Store) -> None:
    first = await put(store.quorum, "apps/pay", "1")
    second = await put(store.quorum, "apps/pay/ü", "")
    last = await put(store.quorum, "apq", "not under it")
    assert second == first + 1
    assert await store.quorum.snapshot("apps/", timeout_s=SOON_S) == Snapshot(
        last, {"apps/pay": Entry("1", first), "apps/pay/ü": Entry("", second)}
    )


async def test_compare_and_swap_takes_effect_once(store: Store) -> None:
    create = (Compare("k", 0),), (Put("k", "first"),)
    created = await store.quorum.transact(*create, timeout_s=SOON_S)
    again = await store.quorum.transact(*create, timeout_s=SOON_S)
    assert (created.succeeded, again) == (True, Outcome(False, created.revision))
    swap = (Compare("k", created.revision),), (Put("k", "second"),)
    swapped = await store.quorum.transact(*swap, timeout_s=SOON_S)
    late = await store.quorum.transact(*swap, timeout_s=SOON_S)
    assert (swapped, late) == (Outcome(True, created.revision + 1), Outcome(False, created.revision + 1))
    assert (await store.quorum.snapshot("k", timeout_s=SOON_S)).entries == {"k": Entry("second", swapped.revision)}


async def test_one_failed_condition_stops_every_change(store: Store) -> None:
    revision = await put(store.quorum, "fence", "1")
    outcome = await store.quorum.transact(
        (Compare("fence", revision), Compare("gone", 7)), (Put("a", "1"), Delete("fence")), timeout_s=SOON_S
    )
    assert outcome == Outcome(False, revision)
    assert set((await store.quorum.snapshot("", timeout_s=SOON_S)).entries) == {"fence"}


async def test_deleting_what_is_not_there_is_no_revision(store: Store) -> None:
    revision = await put(store.quorum, "a", "1")
    assert await store.quorum.transact((), (Delete("b"),), timeout_s=SOON_S) == Outcome(True, revision)


async def test_a_transaction_may_not_change_a_key_twice(store: Store) -> None:
    with pytest.raises(ValueError, match=r"duplicate|twice"):
        await store.quorum.transact((), (Put("a", "1"), Put("a", "2")), timeout_s=SOON_S)


async def test_concurrent_swaps_have_one_winner(store: Store) -> None:
    outcomes = await asyncio.gather(
        *(store.quorum.transact((Compare("k", 0),), (Put("k", str(i)),), timeout_s=SOON_S) for i in range(8))
    )
    (winner,) = (i for i, outcome in enumerate(outcomes) if outcome.succeeded)
    assert (await store.quorum.snapshot("k", timeout_s=SOON_S)).entries["k"].value == str(winner)


async def test_a_watch_yields_one_change_per_revision_in_order(store: Store) -> None:
    start = await put(store.quorum, "w/before", "")
    async with Watch(store.quorum, "w/", after=start) as watch:
        many: dict[str, str | None] = {f"w/{i}": "x" * 500 for i in range(100)}
        changes = tuple(Put(key, str(value)) for key, value in many.items())
        await store.quorum.transact((), (*changes, Put("elsewhere", "")), timeout_s=SOON_S)
        await put(store.quorum, "elsewhere", "only")
        last = await store.quorum.transact((), (Delete("w/0"), Put("w/1", "y")), timeout_s=SOON_S)
        await watch.until(lambda watch: watch.progress >= last.revision)
    assert watch.changes == [Change(start + 1, many), Change(start + 3, {"w/0": None, "w/1": "y"})]


async def test_a_watch_begins_in_the_past(store: Store) -> None:
    revisions = [await put(store.quorum, "w", str(i)) for i in range(5)]
    async with Watch(store.quorum, "w", after=revisions[1]) as watch:
        await watch.until(lambda watch: len(watch.changes) >= 3)
    assert watch.changes == [Change(revisions[i], {"w": str(i)}) for i in (2, 3, 4)]


async def test_a_watch_reports_progress_when_only_other_keys_change(store: Store) -> None:
    async with Watch(store.quorum, "quiet/", after=1) as watch:
        revision = await put(store.quorum, "busy", "")
        await watch.until(lambda watch: watch.progress >= revision)
    assert watch.changes == []


async def test_a_watch_whose_start_was_compacted_says_so(store: Store) -> None:
    revisions = [await put(store.quorum, "w", str(i)) for i in range(4)]
    await store.compact(revisions[2])
    with pytest.raises(CompactedError):
        async with asyncio.timeout(WAIT_S):
            await anext(store.quorum.watch("w", after=revisions[1]))
    async with Watch(store.quorum, "w", after=revisions[2]) as watch:
        await watch.until(lambda watch: len(watch.changes) >= 1)
    assert watch.changes == [Change(revisions[3], {"w": "3"})]


async def test_a_watch_has_no_gap_across_an_interruption(store: Store) -> None:
    async with Watch(store.quorum, "w/", after=1) as watch:
        await put(store.quorum, "w/1", "a")
        await watch.until(lambda watch: len(watch.changes) >= 1)
        await store.interrupt_local()
        last = [await put(store.quorum, key, "b") for key in ("w/2", "w/1", "w/3")][-1]
        await watch.until(lambda watch: watch.progress >= last)
    # Every revision of this store is under the prefix, an unacknowledged one too: none missing, none twice.
    assert [change.revision for change in watch.changes] == list(range(2, last + 1))
    assert watch.changes[-1].entries == {"w/3": "b"}


async def test_without_a_majority_every_call_ends_at_its_deadline(store: Store) -> None:
    revision = await put(store.quorum, "a", "1")
    async with Watch(store.quorum, "a", after=revision) as watch:
        await store.lose_majority()
        started = time.monotonic()
        with pytest.raises(QuorumUnavailableError):
            await store.quorum.transact((), (Put("a", "2"),), timeout_s=0.5)
        with pytest.raises(QuorumUnavailableError):
            await store.quorum.snapshot("", timeout_s=0.5)
        assert time.monotonic() - started < SOON_S
        await store.regain_majority()
        last = await put(store.quorum, "a", "3")
        await watch.until(lambda watch: watch.progress >= last)
    # What happened to the transaction is unknown, but everybody sees the same of it.
    values = [change.entries["a"] for change in watch.changes]
    assert values in (["2", "3"], ["3"])
    assert (await store.quorum.snapshot("a", timeout_s=SOON_S)).entries == {"a": Entry("3", last)}


async def test_membership_names_every_region_and_the_leader(store: Store) -> None:
    membership = await store.quorum.membership(timeout_s=SOON_S)
    assert membership.members == store.names
    assert await leader_of(store.quorum) in store.names


async def test_only_a_member_can_be_asked_to_lead(store: Store) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        await store.quorum.move_leader("nowhere", timeout_s=SOON_S)


async def leader_of(quorum: Quorum) -> str:
    membership = await until(
        lambda: quorum.membership(timeout_s=SOON_S),
        accept=lambda found: found.leader is not None,
        within_s=WAIT_S,
        every_s=0.05,
    )
    return membership.leader


async def moved(quorums: dict[str, Quorum], to: str) -> None:
    """Ask whoever leads to hand over, until ``to`` leads."""

    async def leader() -> str:
        found = await leader_of(quorums[to])
        if found != to:
            await quorums[found].move_leader(to, timeout_s=SOON_S)
        return found

    await until(leader, f"{to} leads", accept=lambda found: found == to, within_s=WAIT_S, every_s=0.05)


async def test_the_leader_hands_over_and_a_follower_cannot_make_it(store: Store) -> None:
    if not isinstance(store, Etcd):
        await store.quorum.move_leader(NAMES[1], timeout_s=SOON_S)
        assert (await store.quorum.membership(timeout_s=SOON_S)).leader == NAMES[1]
        await store.quorum.move_leader(NAMES[2], timeout_s=SOON_S)
        assert (await store.quorum.membership(timeout_s=SOON_S)).leader == NAMES[1]
        return
    if len(store.names) == 1:
        await store.quorum.move_leader(store.local, timeout_s=SOON_S)
        assert await leader_of(store.quorum) == store.local
        return
    async with store.cluster.connect(NAMES[1]) as second, store.cluster.connect(NAMES[2]) as third:
        await moved({NAMES[0]: store.quorum, NAMES[1]: second, NAMES[2]: third}, NAMES[1])
        await store.quorum.move_leader(NAMES[2], timeout_s=SOON_S)
        assert await leader_of(second) == NAMES[1]


@pytest.mark.engine
async def test_a_dead_local_member_is_replaced_by_a_fallback(members: Cluster) -> None:
    async with members.connect(*NAMES) as quorum, Watch(quorum, "w/", after=1) as watch:
        await put(quorum, "w/1", "a")
        await watch.until(lambda watch: len(watch.changes) >= 1)
        await members.kill(NAMES[0])
        last = [await put(quorum, f"w/{i}", "b") for i in range(3)][-1]
        await watch.until(lambda watch: watch.progress >= last)
    # Every revision of this store is under the prefix, an unacknowledged one too: none missing, none twice.
    assert [change.revision for change in watch.changes] == list(range(2, last + 1))


@pytest.mark.engine
async def test_a_frozen_local_member_is_noticed_and_its_watch_moves_on(members: Cluster) -> None:
    async with (
        members.connect(NAMES[0], NAMES[1]) as quorum,
        members.connect(NAMES[1]) as other,
        Watch(quorum, "w/", after=1) as watch,
    ):
        await put(other, "w/1", "a")
        await watch.until(lambda watch: len(watch.changes) >= 1)
        members.freeze(NAMES[0])
        revision = await put(other, "w/2", "b")
        await watch.until(lambda watch: watch.progress >= revision)
        # Also one that went unacknowledged, when it was the leader that froze.
        assert [change.revision for change in watch.changes] == list(range(2, revision + 1))
        assert watch.changes[-1] == Change(revision, {"w/2": "b"})
        members.thaw(NAMES[0])


@pytest.mark.engine
async def test_the_leaders_death_costs_no_acknowledged_change(members: Cluster) -> None:
    quorums: dict[str, EtcdQuorum]
    async with (
        members.connect(NAMES[0]) as first,
        members.connect(NAMES[1]) as second,
        members.connect(NAMES[2]) as third,
        Watch(first, "w", after=1) as watch,
    ):
        quorums = {NAMES[0]: first, NAMES[1]: second, NAMES[2]: third}
        await moved(dict(quorums), NAMES[1])
        before = await put(first, "w", "before")
        await members.kill(NAMES[1])
        after = await put(third, "w", "after")
        await watch.until(lambda watch: watch.progress >= after)
        revisions = {change.revision: change.entries["w"] for change in watch.changes}
        assert (revisions[before], revisions[after]) == ("before", "after")
