"""Since when an application stands as it does, by an agent's own clock."""

import asyncio
from contextlib import suppress

import pytest

from leeward.agent.runtime.changes import Changes
from leeward.agent.services.conditions import Conditions
from leeward.core import keys
from leeward.core.conditions.values import Type
from leeward.core.values import Heartbeat, Role
from tests.agent.machine.test_machine import FLEET, Driven
from tests.core.views import AP, APP, EU, LEASE_S, REGIONS, US, report, sender, topology


class Clock:
    def __init__(self, driven: Driven) -> None:
        self._driven = driven

    def now_s(self) -> float:
        return self._driven.now_s

    def unix_s(self) -> float:
        return 1.0e9 + self._driven.now_s


@pytest.fixture
def driven() -> Driven:
    built = Driven(EU)
    built.load(topology(), us=7)
    beat(built, 1)
    return built


def beat(driven: Driven, number: int, *, writable: bool = True) -> None:
    """Let a heartbeat of each region arrive."""
    for region in REGIONS:
        own = report(Role.PRIMARY, writable=writable, senders=(sender(EU), sender(AP))) if region == US else report()
        driven.store(keys.heartbeat(FLEET, region), Heartbeat(region, "a", number, 7, {}, {APP: own}))


def seen(conditions: Conditions, of: Type = Type.PRIMARY_WRITABLE) -> tuple[object, object]:
    (found,) = (each for each in conditions.documents()[APP] if each["type"] == of)
    return found["status"], found["lastTransitionTime"]


def test_a_status_has_lasted_since_it_changed(driven: Driven) -> None:
    conditions = Conditions(driven.machine, Clock(driven), Changes())
    assert seen(conditions) == ("True", "2001-09-09T01:48:20Z")
    driven.now_s += 1
    beat(driven, 2)
    assert seen(conditions) == ("True", "2001-09-09T01:48:20Z")
    driven.now_s += 1
    beat(driven, 3, writable=False)
    assert seen(conditions) == ("False", "2001-09-09T01:48:22Z")
    assert seen(conditions, Type.QUORUM_AVAILABLE) == ("True", "2001-09-09T01:48:20Z")


def test_an_agent_that_did_not_look_for_long_starts_over(driven: Driven) -> None:
    conditions = Conditions(driven.machine, Clock(driven), Changes())
    seen(conditions)
    driven.now_s += LEASE_S + 2
    beat(driven, 2)
    assert seen(conditions) == ("True", "2001-09-09T01:48:24Z")


def test_without_the_store_conditions_are_unknown() -> None:
    driven = Driven(EU)
    conditions = Conditions(driven.machine, Clock(driven), Changes())
    assert {each["status"] for each in conditions.documents()[APP]} == {"False", "True", "Unknown"}
    assert seen(conditions, Type.QUORUM_AVAILABLE)[0] == "False"
    assert seen(conditions, Type.STALLED)[0] == "True"
    assert seen(conditions, Type.READY)[0] == "Unknown"


class Untimed(Changes):
    """Wakes by what is published only, and notes for how long it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.within_s: list[float | None] = []
        self.waits = asyncio.Event()

    async def after(self, version: int, *, within_s: float | None = None) -> int:
        self.within_s.append(within_s)
        self.waits.set()
        return await super().after(version)


async def test_a_change_is_noted_when_it_is_published_though_nobody_asks(driven: Driven) -> None:
    changes = Untimed()
    conditions = Conditions(driven.machine, Clock(driven), changes)
    running = asyncio.create_task(conditions.run())
    await changes.waits.wait()
    changes.waits.clear()
    driven.now_s += 1
    beat(driven, 2, writable=False)
    changes.publish()
    await changes.waits.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    driven.now_s += 1
    assert seen(conditions) == ("False", "2001-09-09T01:48:21Z")
    assert changes.within_s == [LEASE_S, LEASE_S]


def test_a_silence_is_looked_at_the_moment_it_counts(driven: Driven) -> None:
    conditions = Conditions(driven.machine, Clock(driven), Changes())
    assert seen(conditions)[0] == "True"
    driven.now_s += 0.5
    assert conditions.look_within_s() == pytest.approx(LEASE_S - 0.5)
    driven.now_s += conditions.look_within_s()
    assert seen(conditions) == ("False", "2001-09-09T01:48:22Z")
