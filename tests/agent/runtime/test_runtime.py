"""The runtime's promises: nothing of one application waits for another's, and no performer's failure ends the agent."""

import asyncio
import contextlib
import operator
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from leeward.agent.machine import actions as do
from leeward.agent.machine import events as on
from leeward.agent.machine.machine import Machine
from leeward.agent.runtime.runtime import LEASES_AT_ONCE, Runtime
from leeward.core.values import App, Basis, InstanceStatus, Order, Promise, Region, Role, Vantage, WalPosition
from leeward.ports.clock import SystemClock
from leeward.ports.gateway import Address, Carried, Exported, GatewayUnavailableError, Route
from leeward.ports.quorum import Compare, Membership, Put
from leeward.sim.quorum import MemoryStore
from tests.agent.machine.test_machine import settings
from tests.core.views import AP, APP, EU, REGIONS, SETTINGS, UP, US, status
from tests.kit import waiting

OTHER = App("orders")
BOUND_S = 20
ORDER = Order(1, Role.PRIMARY)
BASIS = Basis(1, "manager", 0)

until = partial(waiting.until, within_s=BOUND_S, every_s=0.001)


async def _answer() -> None:
    return


async def _hang() -> None:
    await asyncio.Event().wait()


class BrokenError(Exception):
    """What no performer foresees."""


class Listening(Machine):
    """Remembers what it was given, and wants nothing."""

    def __init__(self) -> None:
        super().__init__(replace(settings(EU), apps=(SETTINGS, replace(SETTINGS, name=OTHER))), "a")
        self.events: list[on.Event] = []
        self.breaks = False

    def handle(self, event: on.Event, now_s: float, unix_s: float) -> list[do.Action]:
        if self.breaks:
            raise BrokenError("the machine")
        self.events.append(event)
        self.news += isinstance(event, on.PodsChanged)
        return []


@dataclass
class Manager:
    """An instance manager that answers, hangs or breaks as the test wants."""

    does: Callable[[], Awaitable[None]] = _answer
    asked: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)

    async def lease(self, epoch: int, until_s: float, *, basis: Basis, timeout_s: float) -> InstanceStatus:
        self.asked.append(until_s)
        await self.does()
        self.answered.append(until_s)
        return status(Role.PRIMARY)

    async def order(self, order: Order, *, basis: Basis, timeout_s: float) -> InstanceStatus:
        await self.does()
        return status(Role.PRIMARY)

    async def status(self, *, timeout_s: float) -> InstanceStatus:
        return status(Role.PRIMARY)

    async def changes(self) -> AsyncIterator[InstanceStatus]:
        await self.does()
        yield status(Role.PRIMARY)
        await asyncio.Event().wait()


@dataclass
class Envoy:
    """A gateway that confirms when it is let."""

    applied: list[tuple[Route, ...]] = field(default_factory=list)
    confirms: asyncio.Event = field(default_factory=asyncio.Event)
    answers: Mapping[App, Carried] | None = field(default_factory=dict)
    problem: str | None = None

    async def apply(self, routes: tuple[Route, ...], services: tuple[Exported, ...] = (), *, timeout_s: float) -> None:
        self.applied.append(routes)
        await self.confirms.wait()

    async def carried(self, *, timeout_s: float) -> Mapping[App, Carried]:
        if self.answers is None:
            raise GatewayUnavailableError("no answer")
        return self.answers

    async def users_problem(self, *, timeout_s: float) -> str | None:
        return self.problem


class Peers:
    does: Callable[[], Awaitable[None]]

    def __init__(self) -> None:
        self.does = _answer

    async def vantage(self, region: Region, *, timeout_s: float) -> Vantage:
        await self.does()
        return UP

    async def send_promise(self, region: Region, promise: Promise, *, timeout_s: float) -> None:
        await self.does()


class NoPods:
    async def ready(self, app: App) -> AsyncIterator[tuple[Address, ...]]:
        yield ()
        await asyncio.Event().wait()


@dataclass
class Agent:
    machine: Listening
    runtime: Runtime
    quorum: Any
    managers: dict[str, Manager]
    gateway: Envoy
    peers: Peers
    running: asyncio.Task[None]

    def saw(self, event: on.Event) -> Callable[[], bool]:
        return lambda: event in self.machine.events

    def perform(self, action: do.Action) -> None:
        self.runtime._perform(action)


@contextlib.asynccontextmanager
async def running(**managers: Manager) -> AsyncIterator[Agent]:
    machine, gateway, peers = Listening(), Envoy(), Peers()
    quorum = MemoryStore(REGIONS).member(EU)
    runtime = Runtime(
        machine,
        clock=SystemClock(),
        quorum=quorum,
        databases={App(name): manager for name, manager in managers.items()},
        gateway=gateway,
        peers=peers,
        pods=NoPods(),
    )
    task = asyncio.create_task(runtime.run())
    built = Agent(machine, runtime, quorum, managers, gateway, peers, task)
    try:
        await until(lambda: any(isinstance(event, on.SnapshotTaken) for event in machine.events))
        yield built
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    async with running(**{APP: Manager(), OTHER: Manager()}) as built:
        yield built


def _has(them: list[float], number: int) -> bool:
    return len(them) == number


async def test_news_is_published_after_the_machine_has_taken_it_in_and_nothing_else_is(agent: Agent) -> None:
    changes, machine = agent.runtime.changes, agent.machine
    await until(lambda: sum(isinstance(event, on.PodsChanged) for event in machine.events) == len(machine.apps))
    known = changes.version
    assert known == len(machine.apps)
    agent.runtime.post(on.LeaderSeen(EU))
    agent.runtime.post(on.PodsChanged(APP, (Address("10.0.0.9", 8000),)))
    assert await changes.after(known, within_s=BOUND_S) == known + 1
    assert machine.events[-1] == on.PodsChanged(APP, (Address("10.0.0.9", 8000),))


async def _break() -> None:
    raise BrokenError("unforeseen")


async def test_a_hung_manager_does_not_delay_the_leases_of_other_applications(agent: Agent) -> None:
    agent.managers[APP].does = _hang
    for until_s in (1.0, 2.0, 3.0):
        agent.perform(do.ExtendLease(APP, 1, until_s, BASIS))
        agent.perform(do.ExtendLease(OTHER, 1, until_s, BASIS))
        await until(partial(operator.contains, agent.managers[OTHER].answered, until_s))
    assert agent.managers[OTHER].answered == [1.0, 2.0, 3.0]
    assert agent.managers[APP].answered == []


async def test_the_newest_lease_of_an_application_replaces_those_that_wait(agent: Agent) -> None:
    manager, answer = agent.managers[APP], asyncio.Event()

    async def wait() -> None:
        await answer.wait()

    manager.does = wait
    for number in range(1, 10):
        agent.perform(do.ExtendLease(APP, 1, float(number), BASIS))
        await until(partial(_has, manager.asked, min(number, LEASES_AT_ONCE)))
    answer.set()
    await until(lambda: 9.0 in manager.answered)
    assert manager.asked == [1.0, 2.0, 9.0], "one that hangs does not hold up the next; what waits behind both is old"


async def test_how_traffic_is_carried_reaches_the_machine_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leeward.agent.runtime.runtime.PATHS_EVERY_S", 0.001)
    async with running(**{APP: Manager()}) as agent:
        agent.gateway.answers = carried = {APP: Carried({AP: "no answer"})}
        await until(agent.saw(on.PathsTried(carried)))
        agent.gateway.answers = None
        silent = Carried({EU: "its gateway does not answer"})
        await until(agent.saw(on.PathsTried(dict.fromkeys(agent.machine.apps, silent))))


async def test_the_users_port_is_tried_at_once_and_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leeward.agent.runtime.runtime.USERS_EVERY_S", 0.001)
    async with running(**{APP: Manager()}) as agent:
        await until(agent.saw(on.GatewayTried(None)))
        agent.gateway.problem = "it is drained"
        await until(agent.saw(on.GatewayTried("it is drained")))


async def test_what_does_not_serve_the_lease_waits_for_a_heartbeat_and_a_lease(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leeward.agent.runtime.runtime.HEARTBEAT_WAIT_S", 1000.0)
    monkeypatch.setattr("leeward.agent.runtime.runtime.LEASE_WAIT_S", 1000.0)
    started = Runtime(
        Listening(),
        clock=SystemClock(),
        quorum=agent.quorum,
        databases={},
        gateway=agent.gateway,
        peers=agent.peers,
        pods=NoPods(),
    )
    waiting = asyncio.create_task(started.heard())
    await started._transact(do.Transact(1, (Compare("absent", 9),), (), 1.0))
    assert not started._heard.is_set(), "a refused heartbeat is none"
    await started._transact(do.Transact(2, (), (Put("k", "v"),), 1.0))
    assert started._heard.is_set()
    assert not waiting.done()
    started._extended.set()
    async with asyncio.timeout(BOUND_S):
        await waiting


async def test_without_a_store_all_else_starts_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leeward.agent.runtime.runtime.HEARTBEAT_WAIT_S", 0.01)
    monkeypatch.setattr("leeward.agent.runtime.runtime.LEASE_WAIT_S", 0.01)
    started = Runtime(
        Listening(),
        clock=SystemClock(),
        quorum=MemoryStore(REGIONS).member(EU),
        databases={},
        gateway=Envoy(),
        peers=Peers(),
        pods=NoPods(),
    )
    async with asyncio.timeout(BOUND_S):
        await started.heard()


async def test_newer_routes_do_not_wait_until_older_ones_are_confirmed(agent: Agent) -> None:
    older = (Route(APP, 1, (), None, US),)
    newer = (Route(APP, 2, (), None, AP),)
    agent.perform(do.ApplyRoutes(1, older))
    await until(lambda: older in agent.gateway.applied)
    agent.perform(do.ApplyRoutes(2, newer))
    await until(lambda: newer in agent.gateway.applied)
    agent.gateway.confirms.set()
    await until(agent.saw(on.RoutesApplied(2)))
    assert not agent.saw(on.RoutesApplied(1))()


@pytest.mark.parametrize(
    ("action", "reported"),
    [
        (do.Transact(7, (), (), 1.0), on.TransactionEnded(7, None)),
        (do.OrderInstance(APP, ORDER, BASIS), on.OrderEnded(APP, accepted=False)),
        (do.Probe(US, 1.0), on.Probed(US, Vantage(False, "the probe of us failed"))),
        (do.SendPromise(US, Promise(EU, APP, 2, WalPosition(1, 1))), None),
        (do.ExtendLease(APP, 1, 1.0, BASIS), None),
        (do.MoveLeader(AP), None),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_performer_that_breaks_is_logged_and_reported_and_ends_nothing(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, action: do.Action, reported: on.Event | None
) -> None:
    async def broken(*_: object, timeout_s: float) -> Any:
        raise BrokenError("unforeseen")

    agent.managers[APP].does = agent.peers.does = _break
    monkeypatch.setattr(agent.quorum, "transact", broken)
    monkeypatch.setattr(agent.quorum, "move_leader", broken)
    with capture_logs() as logs:
        agent.perform(action)
        await until(lambda: [line for line in logs if line["event"] == "task failed"])
        if reported is not None:
            await until(agent.saw(reported))
    line = next(line for line in logs if line["event"] == "task failed")
    assert (line["error"], line["because"], line["log_level"]) == ("BrokenError", "unforeseen", "error")
    assert line.keys() & {"app", "region", "to", "transaction"}, "the log names what it was about"
    agent.perform(do.ExtendLease(OTHER, 1, 1.0, BASIS))
    await until(lambda: agent.managers[OTHER].answered)
    assert not agent.running.done()


async def test_a_member_that_is_being_replaced_is_no_reason_to_end(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(to: str, *, timeout_s: float) -> None:
        raise ValueError(f"{to} is not a member; members are eu, us")

    monkeypatch.setattr(agent.quorum, "move_leader", refuse)
    with capture_logs() as logs:
        agent.perform(do.MoveLeader(AP))
        await until(lambda: logs)
    assert [(line["event"], line["log_level"], line["to"]) for line in logs] == [
        ("failed to move the store's leader", "warning", AP)
    ]
    assert not agent.running.done()


async def test_watches_that_break_are_started_again(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = iter((True,))

    async def membership(*, timeout_s: float) -> Membership:
        if next(broken, False):
            raise BrokenError("once")
        return Membership(REGIONS, AP)

    monkeypatch.setattr(agent.quorum, "membership", membership)
    with capture_logs() as logs:
        await until(agent.saw(on.LeaderSeen(AP)))
    assert [line["task"] for line in logs if line["event"] == "task failed"] == ["watch leader"]


async def test_an_instance_whose_watch_breaks_is_lost_until_it_answers_again() -> None:
    manager = Manager(does=_break)
    async with running(**{APP: manager}) as agent:
        await until(agent.saw(on.InstanceLost(APP, "unforeseen")))
        manager.does = _answer
        await until(agent.saw(on.InstanceReported(APP, status(Role.PRIMARY))))


async def test_an_error_in_the_machine_ends_the_agent(agent: Agent) -> None:
    agent.machine.breaks = True
    agent.runtime.post(on.Woke())
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(BOUND_S):
            await agent.running
    assert caught.group_contains(BrokenError)
