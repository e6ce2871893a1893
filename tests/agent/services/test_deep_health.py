"""The agent asks a real HTTP server whether it can do its work."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import aiohttp
import pytest
from aiohttp import web

from leeward.agent.runtime.changes import Changes
from leeward.agent.services import deep_health as module
from leeward.agent.services.deep_health import DeepHealths
from leeward.core.values import App
from leeward.ports.clock import SystemClock
from leeward.ports.gateway import Address
from tests.core.views import APP, SETTINGS
from tests.kit.waiting import until


@dataclass
class Pods:
    pods: tuple[Address, ...] = ()


@dataclass
class Service:
    """A service whose answer is chosen."""

    status: int = 200
    text: str = "{}"
    asked: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(status=self.status, text=self.text)

    async def hang(self, request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


@pytest.fixture
async def service() -> AsyncIterator[tuple[Service, Address]]:
    built = Service()
    app = web.Application()
    app.add_routes([web.get("/deep", built.answer), web.get("/hangs", built.hang)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield built, Address("127.0.0.1", runner.addresses[0][1])
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "text", "healthy", "because"),
    [
        (200, "{}", True, "it can do all its work"),
        (503, '{"reasons": ["test write on the primary: refused", "certificate: old"]}', False, None),
        (503, "cache gone\nmore", False, "cache gone"),
        (500, "", False, "it answered 500"),
        (503, "[]", False, "[]"),
    ],
)
async def test_the_answer_of_a_pod_is_kept(
    service: tuple[Service, Address], status: int, text: str, healthy: bool, because: str | None
) -> None:
    told, address = service
    told.status, told.text = status, text
    async with aiohttp.ClientSession() as session:
        app = replace(SETTINGS, deep_path="/deep")
        deep = DeepHealths((app,), {APP: Pods((address,))}, session, SystemClock(), Changes())
        await deep.ask(APP)
    found = deep.known[APP]
    assert (found.healthy, found.because) == (
        healthy,
        because or "test write on the primary: refused; certificate: old",
    )
    assert told.asked == 1


async def test_a_pod_that_does_not_answer_is_not_healthy_and_none_at_all_is_not_known() -> None:
    pods = Pods((Address("127.0.0.1", 1),))
    async with aiohttp.ClientSession() as session:
        deep = DeepHealths((replace(SETTINGS, deep_path="/deep"),), {APP: pods}, session, SystemClock(), Changes())
        await deep.ask(APP)
        assert not deep.known[APP].healthy
        assert "/deep of 127.0.0.1" in deep.known[APP].because
        pods.pods = ()
        await deep.ask(APP)
        assert deep.known == {}


async def test_an_application_is_asked_again_while_the_pod_of_another_one_hangs(
    service: tuple[Service, Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ASK_AGAIN_S", 0.01)
    # Longer than the test may take: whoever waits for the pod that hangs, fails.
    monkeypatch.setattr(module, "ASK_TIMEOUT_S", 600.0)
    told, address = service
    told.status = 503
    other = App("orders")
    apps = tuple(replace(SETTINGS, name=name, deep_path=path) for name, path in ((APP, "/deep"), (other, "/hangs")))
    async with aiohttp.ClientSession() as session:
        deep = DeepHealths(apps, {APP: Pods((address,)), other: Pods((address,))}, session, SystemClock(), Changes())
        running = asyncio.create_task(deep.run())
        try:
            await until(lambda: told.asked >= 3, within_s=20, every_s=0.001)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_a_pod_is_asked_as_soon_as_it_is_ready_and_not_for_every_change(
    service: tuple[Service, Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ASK_EVERY_S", 600.0)
    told, address = service
    pods, changes = Pods(), Changes()
    async with aiohttp.ClientSession() as session:
        deep = DeepHealths((replace(SETTINGS, deep_path="/deep"),), {APP: pods}, session, SystemClock(), changes)
        running = asyncio.create_task(deep.run())
        try:
            pods.pods = (address,)
            changes.publish()
            await until(lambda: APP in deep.known, within_s=20, every_s=0.001)
            for _ in range(10):
                changes.publish()
                await asyncio.sleep(0)
            pods.pods = ()
            changes.publish()
            await until(lambda: APP not in deep.known, within_s=20, every_s=0.001)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert told.asked == 1
