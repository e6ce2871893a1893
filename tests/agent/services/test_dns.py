"""The agent as a DNS server: what the machine knows becomes answers, over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from leeward.adapters.dns.client import NoAnswerError, Reply, ask
from leeward.agent.machine import events as on
from leeward.agent.runtime.changes import Changes
from leeward.agent.services import dns as module
from leeward.agent.services.dns import Naming
from leeward.core.dns.settings import DnsSettings, NamedApp, NamedRegion, Policy
from leeward.core.values import Region, Vantage
from leeward.ports.gateway import Address
from tests.agent.machine.test_machine import Driven
from tests.core.views import AP, APP, DOWN, EU, REGIONS, UP, US, report, topology
from tests.core.views import seen as heard
from tests.instance.instances import free_port
from tests.kit import waiting

GATEWAYS = {US: "192.0.2.1", EU: "192.0.2.2", AP: "192.0.2.3"}
NEAREST = {US: (US, EU, AP), EU: (EU, US, AP), AP: (AP, US, EU)}
TIMEOUT_S = 20


def settings(port: int, **gateways: str) -> DnsSettings:
    hosts = {**GATEWAYS, **gateways}
    regions = tuple(
        NamedRegion(name, (f"10.{index}.0.0/16",), hosts[name], f"198.51.100.{index}")
        for index, name in enumerate(REGIONS, start=1)
    )
    app = NamedApp(APP, "payments.example.com", Policy.LATENCY, 1, REGIONS, dict.fromkeys(REGIONS, 1), NEAREST)
    return DnsSettings("example.com", "127.0.0.1", port, regions, (app,))


class Clock:
    def __init__(self, driven: Driven) -> None:
        self._driven = driven

    def now_s(self) -> float:
        return self._driven.now_s

    def unix_s(self) -> float:
        return self._driven.now_s


def knows(driven: Driven, **seen_by: dict[Region, Vantage]) -> None:
    """Let the machine know what each region, itself included, sees of the others; all have pods."""
    machine = driven.machine
    machine.lease_until_s = driven.now_s + 1
    for region in REGIONS:
        others = {other: UP for other in REGIONS if other != region} | seen_by.get(region, {})
        for other, vantage in others.items() if region == machine.me else ():
            # Twice: one probe that failed is a hiccup.
            driven.post(on.Probed(other, vantage))
            driven.post(on.Probed(other, vantage))
        machine.store.seen[region] = heard(region, driven.now_s, vantages=others, report_=report(pods_ready=2))


@pytest.fixture
def driven() -> Driven:
    built = Driven(EU)
    built.load(topology())
    built.post(on.PodsChanged(APP, (Address("10.0.0.1", 8000),)))
    knows(built)
    return built


@pytest.fixture
def port() -> int:
    """Below the ephemeral range: no connection of anybody takes it before it is listened on."""
    return free_port()


@asynccontextmanager
async def running(naming: Naming) -> AsyncIterator[None]:
    task = asyncio.create_task(naming.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Untimed(Changes):
    """Wakes by what is published only."""

    async def after(self, version: int, *, within_s: float | None = None) -> int:
        return await super().after(version)


async def until(port: int, near: str, expected: tuple[str, ...]) -> Reply:
    return await waiting.until(
        lambda: ask("127.0.0.1", port, "payments.example.com", near=near, timeout_s=5),
        f"users in {near} are answered with {expected}",
        accept=lambda reply: reply.addresses == expected,
        within_s=TIMEOUT_S,
        every_s=0.01,
        not_yet=(NoAnswerError,),
    )


async def test_a_lost_region_is_left_out_and_returns_after_a_while(driven: Driven, port: int) -> None:
    changes = Untimed()
    naming = Naming(settings(port), driven.machine, Clock(driven), changes)
    async with running(naming):
        assert (await until(port, "10.1.0.0/24", ("192.0.2.1",))).ttl_s == 1
        driven.now_s += 1
        knows(driven, eu={US: DOWN}, ap={US: DOWN})
        changes.publish()
        await until(port, "10.1.0.0/24", ("192.0.2.2",))
        assert naming.names()[APP].left_out == {US: "ap, eu cannot see us serving"}
        driven.now_s += 1
        knows(driven)
        driven.post(on.Woke())
        naming.look()
        assert naming.names()[APP].left_out == {}
        assert naming.names()[APP].leads_to[US] == (EU,), "it is held down"
        driven.now_s += driven.machine.timers.hold_down_s + driven.machine.timers.ramp_s + 1
        knows(driven)
        changes.publish()
        await until(port, "10.1.0.0/24", ("192.0.2.1",))


async def test_hosts_that_are_names_are_looked_up(driven: Driven, port: int) -> None:
    naming = Naming(settings(port, us="localhost"), driven.machine, Clock(driven), Changes())
    async with running(naming):
        await until(port, "10.1.0.0/24", ("127.0.0.1",))


async def test_a_taken_port_costs_nothing_but_the_answers(
    driven: Driven, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LISTEN_AGAIN_S", 0.02)
    taken = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port)
    async with running(Naming(settings(port), driven.machine, Clock(driven), Changes())):
        with pytest.raises(NoAnswerError):
            await ask("127.0.0.1", port, "payments.example.com", near=None, timeout_s=5)
        taken.close()
        await taken.wait_closed()
        await until(port, "10.2.0.0/24", ("192.0.2.2",))


def test_looking_again_changes_nothing(driven: Driven) -> None:
    naming = Naming(settings(0), driven.machine, Clock(driven), Changes())
    assert naming.look()
    assert not naming.look()
    driven.machine.lease_until_s = 0.0
    assert naming.look()
    assert naming.names()[APP].left_out == {EU: "eu has no lease: it cannot reach the quorum"}


def test_reading_changes_nothing_in_the_machine(driven: Driven) -> None:
    before = replace(driven.machine.view(driven.machine.apps[APP], driven.now_s))
    naming = Naming(settings(0), driven.machine, Clock(driven), Changes())
    naming.look()
    naming.names()
    assert driven.machine.view(driven.machine.apps[APP], driven.now_s) == before


def test_time_alone_is_looked_at_when_a_silence_begins_to_count(driven: Driven) -> None:
    naming, timers = Naming(settings(0), driven.machine, Clock(driven), Changes()), driven.machine.timers
    naming.look()
    assert naming.look_within_s() == pytest.approx(1.0), "until its own lease ends"
    driven.machine.lease_until_s = driven.now_s + 2 * timers.lease_s
    driven.now_s += 0.5
    assert naming.look_within_s() == pytest.approx(timers.lease_s - 0.5), "until the others are not heard"
    driven.now_s += 5 * timers.lease_s
    assert naming.look_within_s() == timers.lease_s, "nothing more is due"


def test_a_region_that_gets_its_users_back_is_looked_at_with_every_heartbeat(driven: Driven) -> None:
    naming, timers = Naming(settings(0), driven.machine, Clock(driven), Changes()), driven.machine.timers
    naming.look()
    knows(driven, eu={US: DOWN}, ap={US: DOWN})
    naming.look()
    assert naming.look_within_s() > timers.heartbeat_s, "one that is out is waited for"
    driven.now_s += 1
    knows(driven)
    naming.look()
    assert naming.look_within_s() == timers.heartbeat_s
    driven.now_s += timers.hold_down_s + timers.ramp_s + 1
    knows(driven)
    naming.look()
    assert naming.look_within_s() > timers.heartbeat_s


async def test_new_addresses_of_a_host_are_published(
    driven: Driven, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def addresses(_: str) -> tuple[str, ...]:
        return ("192.0.2.9",)

    monkeypatch.setattr(module.lookup, "addresses", addresses)
    naming = Naming(settings(port, us="gateway.example.net"), driven.machine, Clock(driven), Untimed())
    async with running(naming):
        await until(port, "10.1.0.0/24", ("192.0.2.9",))
