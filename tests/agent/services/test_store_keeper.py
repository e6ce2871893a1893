"""The keeper of a region's store member: schedule, failures, what it tells and hears."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import pytest

from leeward.adapters.etcd.backup import Backup, BackupError
from leeward.adapters.etcd.maintenance import Measured
from leeward.agent.machine import events as on
from leeward.agent.services import store_keeper as module
from leeward.agent.services.store_keeper import StoreKeeper
from leeward.core.settings import StoreSettings
from leeward.core.store_members import NO_SPACE, StoreMember
from leeward.core.values import Region
from leeward.ports.quorum import QuorumUnavailableError
from tests.core.views import AP, EU, US

SOON_S = 30.0
EVERY_S = 600.0
MIB = 1024 * 1024
QUOTA = 256 * MIB
START_UNIX_S = 1.7e9


@dataclass
class Clock:
    """Its time passes only in pauses."""

    unix: float = START_UNIX_S

    def now_s(self) -> float:
        return self.unix

    def unix_s(self) -> float:
        return self.unix


@dataclass
class Member:
    """A member whose backups end as they are reported."""

    newest: float | None = None
    failures: list[Exception] = field(default_factory=list)
    made: list[tuple[float, int]] = field(default_factory=list)
    measured: Measured = Measured(7, False, MIB, MIB, ())
    silent: bool = False
    did: list[str] = field(default_factory=list)

    async def newest_backup(self) -> tuple[float | None, str]:
        return self.newest, ""

    async def measure(self, *, timeout_s: float) -> Measured:
        if self.silent:
            raise QuorumUnavailableError("it does not answer")
        return self.measured

    async def compact(self, revision: int, *, timeout_s: float) -> None:
        self.did.append(f"compacted to {revision}")
        self.measured = replace(self.measured, in_use_bytes=MIB)

    async def defragment(self, *, timeout_s: float) -> None:
        self.did.append("defragmented")
        self.measured = replace(self.measured, db_bytes=self.measured.in_use_bytes)

    async def disarm(self, alarm: str, *, timeout_s: float) -> None:
        self.did.append(f"lifted {alarm}")
        self.measured = replace(self.measured, alarms=())

    async def back_up(self, *, unix_s: float, keep: int) -> Backup:
        if self.failures:
            raise self.failures.pop(0)
        self.made.append((unix_s, keep))
        return Backup(Path("backup.db"), unix_s, 7, 512)


@dataclass
class Peers:
    """The other agents, each with what it answers one time after the other; the last for good."""

    answers: dict[Region, list[StoreMember]] = field(default_factory=lambda: {EU: [StoreMember(5.0)]})

    async def store_member(self, region: Region, *, timeout_s: float) -> StoreMember | None:
        answers = self.answers.get(region, [])
        return answers.pop(0) if len(answers) > 1 else next(iter(answers), None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Pauses take no time, and move the clock."""
    built, pause = Clock(), asyncio.sleep

    async def sleep(seconds: float) -> None:
        if seconds not in (module.LOOK_EVERY_S, module.LOOK_ALARMED_S):
            built.unix += seconds
        await pause(0)

    monkeypatch.setattr("leeward.agent.services.store_keeper.asyncio.sleep", sleep)
    monkeypatch.setattr(module, "LOOK_EVERY_S", 3.0)
    return built


async def run(
    member: Member, clock: Clock, until: Callable[[list[on.StoreMembersSeen]], bool], peers: Peers | None = None
) -> list[StoreMember]:
    """Run a keeper until it reported enough; return what it reported of its own member."""
    reported: list[on.StoreMembersSeen] = []
    enough = asyncio.Event()

    def post(event: on.Event) -> None:
        assert isinstance(event, on.StoreMembersSeen)
        reported.append(event)
        if until(reported):
            enough.set()

    settings = StoreSettings("/nowhere", EVERY_S, 6, QUOTA)
    keeper = StoreKeeper(settings, US, (EU, AP), member=member, peers=peers or Peers(), clock=clock, post=post)
    running = asyncio.create_task(keeper.run())
    async with asyncio.timeout(SOON_S):
        await enough.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return [event.members[US] for event in reported if US in event.members]


def made(member: Member, count: int) -> Callable[[object], bool]:
    return lambda _: len(member.made) >= count


async def test_a_new_agent_makes_a_backup_soon_and_then_on_schedule(clock: Clock) -> None:
    member = Member()
    await run(member, clock, made(member, 3))
    first = START_UNIX_S + module.SETTLE_S
    assert member.made[:3] == [(first, 6), (first + EVERY_S, 6), (first + 2 * EVERY_S, 6)]


async def test_an_agent_that_restarts_goes_on_with_the_schedule(clock: Clock) -> None:
    member = Member(newest=START_UNIX_S - 100)
    reported = await run(member, clock, made(member, 1))
    assert reported[0].backup_at_unix_s == START_UNIX_S - 100, "known at once"
    assert member.made[0][0] == START_UNIX_S + EVERY_S - 100


async def test_a_backup_of_the_future_delays_by_a_period_at_most(clock: Clock) -> None:
    member = Member(newest=START_UNIX_S + 1e6)
    await run(member, clock, made(member, 1))
    assert member.made[0][0] == START_UNIX_S + module.SETTLE_S + EVERY_S


async def test_a_backup_that_fails_is_reported_and_retried(clock: Clock) -> None:
    member = Member(newest=START_UNIX_S - 5000, failures=[BackupError("damaged"), OSError("no space")])
    reported = await run(member, clock, made(member, 1))
    known = [known for known, _ in groupby((each.backup_error, each.backup_at_unix_s) for each in reported)]
    old, new = START_UNIX_S - 5000, START_UNIX_S + module.SETTLE_S + 2 * module.RETRY_S
    begin = known.index(("", old))
    assert known[begin : begin + 4] == [("", old), ("damaged", old), ("no space", old), ("", new)]


async def test_reports_of_other_agents_reach_the_machine(clock: Clock) -> None:
    found: list[on.StoreMembersSeen] = []

    def heard(reported: list[on.StoreMembersSeen]) -> bool:
        found[:] = [event for event in reported if US not in event.members]
        return bool(found)

    await run(Member(newest=START_UNIX_S), clock, heard)
    assert found[0].members == {EU: StoreMember(5.0)}, "ap did not answer"


TIDY = StoreMember(answers=True, db_bytes=MIB, in_use_bytes=MIB, quota_bytes=QUOTA)
FRAGMENTED = Measured(7, False, 100 * MIB, 10 * MIB, ())


def settled(member: Member, *did: str) -> Callable[[list[on.StoreMembersSeen]], bool]:
    """Whether it did all this, and reported that nothing is under way."""
    return lambda reported: member.did[: len(did)] == [*did] and not reported[-1].members.get(US, TIDY).defragmenting


async def test_a_store_without_space_is_compacted_defragmented_and_freed(clock: Clock) -> None:
    member = Member(measured=Measured(7, True, QUOTA, QUOTA, (NO_SPACE,)), newest=START_UNIX_S)
    peers = Peers({EU: [replace(TIDY, alarms=(NO_SPACE,))]})
    reported = await run(member, clock, settled(member, "compacted to 7", "defragmented"), peers)
    assert reported[1].alarms == (NO_SPACE,), "reported while it lasts"


async def test_a_defragmentation_is_announced_and_then_checked_again(clock: Clock) -> None:
    busy = replace(TIDY, defragmenting=True)
    member = Member(measured=FRAGMENTED, newest=START_UNIX_S)
    # Each looks and sees nothing, announces it, and sees the other: both leave it, and the other is faster then.
    peers = Peers({EU: [TIDY, busy, busy, busy, TIDY], AP: [TIDY]})
    reported = await run(member, clock, settled(member, "defragmented"), peers)
    announced = [announced for announced, _ in groupby(each.defragmenting for each in reported)]
    assert announced[:5] == [False, True, False, True, False], "left once, and done later"


async def test_a_member_that_does_not_answer_is_reported(clock: Clock) -> None:
    member = Member(silent=True, newest=START_UNIX_S)
    reported = await run(member, clock, lambda reported: len(reported) > 3)
    assert not any(each.answers for each in reported)
