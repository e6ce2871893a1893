"""Connections to the other agents: no more stay open than are used all the time."""

import asyncio
from pathlib import Path

from aiohttp import web

from leeward.agent.runtime.peers import HttpPeers
from leeward.core.certificates import Certificate, RegionCertificates
from leeward.core.codec import encode
from leeward.core.settings import RegionSettings
from leeward.core.values import Vantage
from leeward.kit.http import tls
from leeward.kit.http.refusals import Refusals
from leeward.kit.http.serving import HttpServer
from tests.agent.runtime.test_api import write_identity
from tests.core.views import AP, EU
from tests.kit.waiting import until

BOUND_S = 20


async def test_what_is_asked_once_a_minute_leaves_no_connection(tmp_path: Path) -> None:
    write_identity(tmp_path)
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def vantage(request: web.Request) -> web.Response:
        asked.set()
        await may_answer.wait()
        return web.Response(text=encode(Vantage(True, "")))

    async def certificates(request: web.Request) -> web.Response:
        return web.Response(text=encode(RegionCertificates((Certificate("agent", 0.0, 1.0),))))

    app = web.Application()
    app.add_routes([web.get("/v1/vantage", vantage), web.get("/v1/certificates", certificates)])
    async with (
        asyncio.timeout(BOUND_S),
        HttpServer(app, "127.0.0.1", 0, tls.server(tmp_path / AP), Refusals("agent")) as server,
    ):
        url = f"https://127.0.0.1:{server.port}"
        there = RegionSettings(AP, witness=False, agent_url=url, gateway_host="", gateway_port=0, rtt_s=0.0)
        async with HttpPeers(EU, (there,), tls.client(tmp_path / EU)) as peers:
            looking = asyncio.create_task(peers.vantage(AP, timeout_s=BOUND_S))
            await asked.wait()
            assert await peers.certificates(AP, timeout_s=BOUND_S) is not None
            may_answer.set()
            assert (await looking).serving
            # That of the probe, and the warm one for promises.
            handler = server._runner.server
            assert handler is not None
            await until(
                lambda: len(handler.connections), accept=lambda count: count == 2, within_s=BOUND_S, every_s=0.01
            )
