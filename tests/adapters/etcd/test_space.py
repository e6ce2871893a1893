"""Real members with a tiny quota: they fill up, refuse writes, and agents bring them back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from leeward.adapters.etcd.maintenance import Maintenance, Measured, maintain
from leeward.agent.machine import events as on
from leeward.agent.services import store_keeper
from leeward.agent.services.store_keeper import StoreKeeper
from leeward.core.settings import StoreSettings
from leeward.core.store_members import NO_SPACE, StoreMember
from leeward.core.store_space import ROOM
from leeward.core.values import Region
from leeward.ports.clock import SystemClock
from leeward.ports.quorum import Put, QuorumUnavailableError
from tests.adapters.etcd.cluster import Cluster, cluster
from tests.kit.waiting import until

NAMES = ("ap", "eu", "us")
MIB = 1024 * 1024
QUOTA = 16 * MIB
CALL_S = 30.0
PATIENCE_S = 60.0
VALUE = "x" * (500 * 1024)


async def put(members: Cluster, key: str, value: str = "x") -> None:
    async with members.connect(NAMES[0]) as quorum:
        await quorum.transact((), (Put(key, value),), timeout_s=CALL_S)


async def fill(members: Cluster, keys: int) -> None:
    """Write until writes are refused: the same few keys again and again, so nearly all is history."""

    async def write() -> None:
        for number in range(10 * QUOTA // len(VALUE)):
            await put(members, f"k/{number % keys}", VALUE)

    with pytest.raises(QuorumUnavailableError, match="database space exceeded"):
        await write()


async def freed(members: Cluster) -> None:
    """Write a little, as heartbeats do, until each member counts the pages of its history as free."""
    for name in NAMES:
        async with maintain(members.endpoint(name), members.identities[name], Path()) as member:

            async def measured() -> Measured:
                await put(members, "k/beat")
                return await member.measure(timeout_s=CALL_S)

            await until(
                measured,
                f"{name} counts free pages",
                accept=lambda found: found.in_use_bytes <= found.db_bytes / 3,
                within_s=PATIENCE_S,
                every_s=0,
            )


class Watched:
    """A member that notes what is done to it."""

    def __init__(self, name: str, member: Maintenance, done: list[str]) -> None:
        self._name, self._member, self._done = name, member, done
        self.newest_backup, self.back_up, self.compact = member.newest_backup, member.back_up, member.compact
        self.leads = False

    async def measure(self, *, timeout_s: float) -> Measured:
        found = await self._member.measure(timeout_s=timeout_s)
        self.leads = found.leads
        return found

    async def defragment(self, *, timeout_s: float) -> None:
        self._done.append(f"{self._name} begins{' as leader' if self.leads else ''}")
        await self._member.defragment(timeout_s=timeout_s)
        self._done.append(f"{self._name} ends")

    async def disarm(self, alarm: str, *, timeout_s: float) -> None:
        await self._member.disarm(alarm, timeout_s=timeout_s)
        self._done.append(f"{alarm} is lifted")


@asynccontextmanager
async def kept(
    members: Cluster, names: tuple[str, ...], directory: Path
) -> AsyncIterator[tuple[list[str], list[on.Event]]]:
    """Run a keeper for each of these members; yield what they did to them and what they told."""
    done: list[str] = []
    told: list[on.Event] = []
    keepers: dict[str, StoreKeeper] = {}

    class Peers:
        async def store_member(self, region: Region, *, timeout_s: float) -> StoreMember | None:
            # With an alarm a majority is enough: one that has not measured yet would be left out.
            known = all(keeper.own.answers for keeper in keepers.values())
            return keepers[region].own if known and region in keepers else None

    async with AsyncExitStack() as stack:
        for name in names:
            member = await stack.enter_async_context(
                maintain(members.endpoint(name), members.identities[name], directory / name)
            )
            keepers[name] = StoreKeeper(
                StoreSettings(str(directory / name), 600.0, 2, QUOTA),
                Region(name),
                tuple(Region(other) for other in NAMES if other != name),
                member=Watched(name, member, done),
                peers=Peers(),
                clock=SystemClock(),
                post=told.append,
            )
        running = [asyncio.create_task(keeper.run()) for keeper in keepers.values()]
        try:
            yield done, told
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


@pytest.fixture(autouse=True)
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_keeper, "LOOK_EVERY_S", 0.3)
    monkeypatch.setattr(store_keeper, "LOOK_ALARMED_S", 0.3)
    monkeypatch.setattr(store_keeper, "MEASURE_S", CALL_S)


@pytest.mark.engine
async def test_a_store_that_reached_its_quota_accepts_writes_again(tmp_path: Path) -> None:
    async with cluster(tmp_path, NAMES, QUOTA) as members:
        await fill(members, keys=3)
        async with kept(members, NAMES, tmp_path / "backups") as (done, told):
            await until(lambda: f"{NO_SPACE} is lifted" in done, "the alarm is lifted")
            await put(members, "k/after")
            alarmed = {
                region
                for event in told
                if isinstance(event, on.StoreMembersSeen)
                for region, member in event.members.items()
                if NO_SPACE in member.alarms
            }
        assert alarmed == {*NAMES}, "told while it lasted"
        # One after the other, the leader last if its file is large, and only then the alarm.
        begun = [each.split()[0] for each in done if "begins" in each]
        assert [each.removesuffix(" as leader") for each in done] == [
            *(f"{name} {what}" for name in begun for what in ("begins", "ends")),
            f"{NO_SPACE} is lifted",
        ]
        assert begun, "the one that raised the alarm at least"
        assert not any(each.endswith("as leader") for each in done[: 2 * (len(begun) - 1)])
        for name in NAMES:
            async with maintain(members.endpoint(name), members.identities[name], tmp_path) as member:
                found = await member.measure(timeout_s=CALL_S)
            assert (found.alarms, found.db_bytes <= ROOM * QUOTA) == ((), True)


@pytest.mark.engine
async def test_a_region_that_is_lost_does_not_keep_the_others_from_recovering(tmp_path: Path) -> None:
    async with cluster(tmp_path, NAMES, QUOTA) as members:
        await fill(members, keys=3)
        await members.kill("us")
        await members.ready("ap")
        async with kept(members, ("ap", "eu"), tmp_path / "backups") as (done, _):
            await until(lambda: f"{NO_SPACE} is lifted" in done, "the alarm is lifted")
            await put(members, "k/after")


@pytest.mark.engine
async def test_without_an_alarm_a_fragmented_member_is_defragmented_only_while_all_answer(tmp_path: Path) -> None:
    async with cluster(tmp_path, NAMES, QUOTA) as members:
        for number in range(12):
            await put(members, f"k/{number % 2}", VALUE)
        async with maintain(members.endpoint("ap"), members.identities["ap"], tmp_path) as member:
            await member.compact((await member.measure(timeout_s=CALL_S)).revision, timeout_s=CALL_S)
            await member.compact(1, timeout_s=CALL_S)  # done already
        await freed(members)
        async with kept(members, ("ap", "eu"), tmp_path / "backups") as (done, told):
            await until(lambda: len(told) > 40, "they looked several times")
            assert done == [], "us does not answer"
        async with kept(members, NAMES, tmp_path / "backups") as (done, _):
            await until(lambda: sum("ends" in each for each in done) == len(NAMES), "all are defragmented")
        assert [each.endswith("as leader") for each in done if "begins" in each] == [False, False, True]
