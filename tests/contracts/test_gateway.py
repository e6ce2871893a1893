"""What every gateway promises, whoever it is made of."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest

from leeward.core.values import Region
from leeward.ports.gateway import Gateway, Route
from tests.adapters.envoy.rig import EU, TIMEOUT_S, US, Node, node
from tests.kit.certificates import issue_each

POSTGRES = 5432
READ_METHODS = ("GET", "HEAD", "OPTIONS")
WRITE_METHODS = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class Site:
    """One region's gateway and how a client in that region sees it."""

    gateway: Gateway
    node: Node

    async def apply(self, *routes: Route) -> None:
        await self.gateway.apply(routes, timeout_s=TIMEOUT_S)

    async def where(self, method: str) -> Region | None:
        """Return the region that served a request; None when it was refused."""
        answer = await self.node.request(method)
        return Region(answer.headers["x-leeward-region"]) if answer.status == 200 else None

    async def ask_primary(self, word: str) -> str:
        """Return what the primary's PostgreSQL answers; empty when the connection is closed instead."""
        return await (await self.node.connect(POSTGRES)).ask(word)


@dataclass(frozen=True, slots=True)
class Fleet:
    us: Site
    eu: Site

    async def apply(self, primary: Region | None) -> None:
        for site, fallback in ((self.us, EU), (self.eu, US)):
            await site.apply(site.node.route(primary, fallbacks=(fallback,)))


@pytest.fixture(params=[pytest.param("envoy", marks=pytest.mark.engine)])
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    issue_each(tmp_path / "identity", (US, EU))
    async with (
        aiohttp.ClientSession() as session,
        node(US, tmp_path, session, over_link=False) as us,
        node(EU, tmp_path, session, over_link=False) as eu,
    ):
        both = Fleet(Site(us.gateway, us), Site(eu.gateway, eu))
        await both.apply(US)
        for each in (us, eu):
            await each.warm("http")
            await each.warm("postgres")
        yield both


async def test_reads_stay_and_writes_follow_the_primary(fleet: Fleet) -> None:
    for primary in (US, EU):
        await fleet.apply(primary)
        for site in (fleet.us, fleet.eu):
            assert {await site.where(method) for method in READ_METHODS} == {site.node.region}
            assert {await site.where(method) for method in WRITE_METHODS} == {primary}


async def test_without_a_primary_writes_are_refused_at_once(fleet: Fleet) -> None:
    await fleet.apply(None)
    for site in (fleet.us, fleet.eu):
        assert {await site.where(method) for method in WRITE_METHODS} == {None}
        assert await site.where("GET") == site.node.region
        assert await site.ask_primary("hello") == ""


async def test_reads_fall_back_in_order_while_nobody_is_ready(fleet: Fleet) -> None:
    await fleet.us.apply(fleet.us.node.route(US, pods=(), fallbacks=(EU,)))
    assert await fleet.us.where("GET") == EU
    await fleet.us.apply(fleet.us.node.route(US, fallbacks=(EU,)))
    assert await fleet.us.where("GET") == US


async def test_pods_that_are_not_known_stay_as_they_are(fleet: Fleet) -> None:
    unknown = replace(fleet.us.node.route(EU, fallbacks=(EU,)), pods=None)
    await fleet.eu.apply(fleet.eu.node.route(EU, fallbacks=(US,)))
    await fleet.us.apply(unknown)
    assert await fleet.us.where("GET") == US
    assert await fleet.us.where("POST") == EU, "the rest of the routes is applied"
    await fleet.us.apply()
    await fleet.us.apply(unknown)
    assert await fleet.us.where("GET") == EU, "none were known before"


async def test_database_connections_to_a_deposed_primary_are_closed(fleet: Fleet) -> None:
    streams = [await site.node.connect(POSTGRES) for site in (fleet.us, fleet.eu)]
    for stream in streams:
        assert await stream.ask("hello") == "us hello"
    await fleet.apply(EU)
    for stream in streams:
        await stream.closed()
    for site in (fleet.us, fleet.eu):
        assert await site.ask_primary("hello") == "eu hello"


async def test_applying_again_disturbs_nobody(fleet: Fleet) -> None:
    streams = [await site.node.connect(POSTGRES) for site in (fleet.us, fleet.eu)]
    for number in range(3):
        for stream in streams:
            assert await stream.ask(f"again {number}") == f"us again {number}"
        await fleet.apply(US)


async def test_no_routes_serve_nobody(fleet: Fleet) -> None:
    await fleet.us.apply()
    assert await fleet.us.where("GET") is None
    assert await fleet.us.ask_primary("hello") == ""
