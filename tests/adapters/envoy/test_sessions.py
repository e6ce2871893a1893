"""How many streams lead to databases through real gateways: who takes all of one port leaves the other ports theirs."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from leeward.adapters.envoy.settings import GatewayApp, Limits
from leeward.core.values import App
from tests.adapters.envoy.conftest import Pair
from tests.adapters.envoy.rig import EGRESS, EU, PAY, POSTGRES_PORT, TIMEOUT_S, US, Node, node
from tests.kit.certificates import issue_each
from tests.kit.waiting import until

pytestmark = pytest.mark.engine
SESSIONS, EGRESS_STREAMS = 6, 3
LIMITS = Limits(sessions_max=SESSIONS, egress_max=EGRESS_STREAMS)
SHOP, SHOP_PORT = App("shop"), POSTGRES_PORT + 1
SHOPPING = GatewayApp(
    name=SHOP,
    host="shop.example",
    postgres_port=SHOP_PORT,
    egress={region: port + 100 for region, port in EGRESS.items()},
)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """Regions with two applications, whose databases' primaries are both in the United States."""
    issue_each(tmp_path / "identity", ("us", "eu"))
    async with (
        aiohttp.ClientSession() as session,
        node(US, tmp_path, session, LIMITS, over_link=False, others=(SHOPPING,)) as us,
        node(EU, tmp_path, session, LIMITS, over_link=False, others=(SHOPPING,)) as eu,
    ):
        for each in (us, eu):
            route = each.route(US)
            await each.gateway.apply((route, replace(route, app=SHOP)), timeout_s=TIMEOUT_S)
        await eu.warm("postgres")
        yield Pair(us, eu, tmp_path)


async def answered(at: Node, port: int, count: int = 1) -> int:
    """Return how many of these streams are answered, all of them open at once."""
    streams = [await at.connect(port) for _ in range(count)]
    return sum([await stream.ask("hello") == "us hello" for stream in streams])


@pytest.mark.parametrize("place", ["here", "elsewhere"])
async def test_pods_that_take_all_sessions_leave_replication_and_other_applications_theirs(
    pair: Pair, place: str
) -> None:
    at = pair.us if place == "here" else pair.eu
    assert await answered(at, POSTGRES_PORT, 3 * SESSIONS) == SESSIONS
    assert await answered(at, EGRESS[US]) == 1, "replication of the same application"
    assert await answered(at, SHOP_PORT) == 1, "another application"
    assert await answered(pair.us if at is pair.eu else pair.eu, POSTGRES_PORT) == 1, "pods of another region"
    carried = (await at.gateway.carried(timeout_s=TIMEOUT_S))[PAY]
    assert carried.overflows >= 2 * SESSIONS
    assert carried.limit_used == 1


async def test_streams_to_a_named_region_are_bounded(pair: Pair) -> None:
    assert await answered(pair.eu, EGRESS[US], 3 * EGRESS_STREAMS) == EGRESS_STREAMS
    assert await answered(pair.eu, POSTGRES_PORT) == 1


async def test_a_session_that_ends_makes_room(pair: Pair) -> None:
    held = [await pair.us.connect(POSTGRES_PORT) for _ in range(SESSIONS)]
    for stream in held:
        assert await stream.ask("hello") == "us hello"
    assert await answered(pair.us, POSTGRES_PORT) == 0
    held[0].writer.close()
    # The gateway has yet to notice.
    await until(lambda: answered(pair.us, POSTGRES_PORT), within_s=TIMEOUT_S, every_s=0)
