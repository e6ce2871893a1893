"""A small payments service that fails on demand: one gateway per region, with one ledger for all."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum, auto

import pytest
from aiohttp import web

from leeward.core.values import Region


class Mood(Enum):
    """How a gateway treats requests from now on."""

    GOOD = auto()
    FAILS = auto()
    """503 ``failed``, nothing written."""
    FORGETS_TO_ANSWER = auto()
    """It writes, and answers 504 ``unknown``."""
    HANGS = auto()
    """It writes, and never answers."""
    CUTS = auto()
    """It closes the connection without an answer."""


class Gateway:
    """One region's entrance to the payments that all gateways share."""

    def __init__(self, region: Region, payments: dict[str, str]) -> None:
        self.region = region
        self.payments = payments
        self.mood = Mood.GOOD
        self.keys: list[str] = []
        self.url = ""
        self.released = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_post("/api/payments", self._write)
        app.router.add_get("/api/payments", self._list)
        app.router.add_get("/api/payments/{id}", self._read)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def close(self) -> None:
        """Stop listening; connections are refused from now on."""
        self.released.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _write(self, request: web.Request) -> web.StreamResponse:
        key = request.headers["Idempotency-Key"]
        self.keys.append(key)
        if self.mood is Mood.FAILS:
            return self._answer({"code": "failed", "why": "on cue"}, 503)
        made = key not in self.payments
        self.payments.setdefault(key, str(uuid.uuid4()))
        if self.mood is Mood.FORGETS_TO_ANSWER:
            return self._answer({"code": "unknown", "why": "on cue"}, 504)
        if self.mood is not Mood.GOOD:
            return await self._misbehave(request)
        return self._answer({"id": self.payments[key], "key": key}, 201 if made else 200)

    async def _read(self, request: web.Request) -> web.StreamResponse:
        if self.mood in (Mood.HANGS, Mood.CUTS):
            return await self._misbehave(request)
        payment = request.match_info["id"]
        if payment not in self.payments.values():
            return self._answer({"code": "absent"}, 404)
        return self._answer({"id": payment}, 200)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if self.mood is not Mood.GOOD:
            return self._answer({"code": "failed"}, 503)
        prefix, after = request.query["prefix"], request.query.get("after", "")
        keys = sorted(key for key in self.payments if key.startswith(prefix) and key > after)[:7]
        return self._answer({"payments": [{"key": key, "id": self.payments[key]} for key in keys]}, 200)

    async def _misbehave(self, request: web.Request) -> web.StreamResponse:
        if self.mood is Mood.HANGS:
            await self.released.wait()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    def _answer(self, document: dict[str, object], status: int) -> web.Response:
        return web.json_response(document, status=status, headers={"x-served-by": self.region})


Open = Callable[..., Awaitable[dict[Region, Gateway]]]


@pytest.fixture
async def gateways() -> AsyncIterator[Open]:
    """Return a function that opens the gateways of some regions."""
    opened: list[Gateway] = []

    async def open_all(*regions: Region) -> dict[Region, Gateway]:
        payments: dict[str, str] = {}
        for region in regions:
            gateway = Gateway(region, payments)
            await gateway.open()
            opened.append(gateway)
        return {gateway.region: gateway for gateway in opened}

    yield open_all
    for gateway in opened:
        await gateway.close()
