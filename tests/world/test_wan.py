import asyncio
import time

import pytest

from leeward.world.client import World
from tests.kit.waiting import until
from tests.world.support import PATIENCE_S, RTT_MS, Caller, number

pytestmark = pytest.mark.world


async def ping_within(caller: Caller, least_s: float, most_s: float) -> None:
    """Ping until one takes no longer than that, as the machine lets it; none may take less."""

    async def ping_s() -> float:
        taken_s = await caller.ping_s()
        assert taken_s >= least_s
        return taken_s

    await until(
        ping_s, f"a ping below {most_s:g} s", accept=lambda taken_s: taken_s < most_s, within_s=PATIENCE_S, every_s=0
    )


async def test_round_trips_are_as_configured_and_never_shorter(world: World) -> None:
    for (source, target), rtt_ms in RTT_MS.items():
        for pair in ((source, target), (target, source)):
            async with await Caller.inside(world, *pair) as caller:
                await caller.ping_s()
                await ping_within(caller, rtt_ms / 1000, rtt_ms / 1000 + 0.06)


async def test_connecting_costs_a_round_trip(world: World) -> None:
    # Before it calls: the round trip goes on while it is not scheduled.
    started_s = time.monotonic()
    async with await Caller.inside(world, "us", "eu") as caller:
        await caller.ping_s()
        assert time.monotonic() - started_s >= 2 * 0.080


async def test_measured_round_trips_are_shown(world: World) -> None:
    # One look: between two, a probe may be late, and what it measured before no longer shown.
    links = await until(
        world.links,
        accept=lambda links: all(link.measured_rtt_ms for link in links),
        within_s=PATIENCE_S,
        every_s=0,
    )
    for link in links:
        assert link.measured_rtt_ms is not None
        assert link.configured_rtt_ms <= link.measured_rtt_ms


async def test_whoever_refuses_is_heard_a_round_trip_later(world: World) -> None:
    started_s = time.monotonic()
    async with await Caller.inside(world, "us", "eu", (3, 2380)) as caller:
        assert await caller.ends() == b""
        assert time.monotonic() - started_s >= 0.080


async def test_half_closed_connections_go_on(world: World) -> None:
    async with await Caller.inside(world, "us", "eu") as caller:
        caller.send(b"last words")
        caller.writer.write_eof()
        assert await caller.ends() == b"last wordsbye"


async def test_a_cut_is_a_black_hole_until_it_heals(world: World) -> None:
    async with await Caller.inside(world, "us", "eu") as old:
        await old.ping_s()
        await world.set_link("us", "eu", cut=True)
        async with await Caller.inside(world, "us", "eu") as new:
            for caller in (old, new):
                caller.send(b"hello")
                assert await caller.is_silent()
            await world.set_link("us", "eu", cut=False)
            for caller in (old, new):
                assert await caller.read(5) == b"hello"


async def test_a_cut_leaves_other_links_alone(world: World) -> None:
    await world.set_link("us", "*", cut=True)
    cuts = {(link.source, link.target) for link in await world.links() if link.cut}
    assert cuts == {("us", "eu"), ("us", "ap"), ("eu", "us"), ("ap", "us")}
    async with await Caller.inside(world, "eu", "ap") as caller:
        await caller.ping_s()


async def test_one_direction_can_be_cut(world: World) -> None:
    received = world.directory / "regions" / "eu" / "volumes" / "received"
    async with await Caller.inside(world, "us", "eu") as caller:
        await caller.ping_s()
        await world.set_link("eu", "us", both=False, cut=True)
        caller.send(b"there")
        await until(lambda: number(received) == 6, "bytes pass the direction that is not cut")
        assert await caller.is_silent()
        await world.set_link("eu", "us", both=False, cut=False)
        assert await caller.read(5) == b"there"
        await world.set_link("us", "eu", both=False, cut=True)
        caller.send(b"again")
        assert await caller.is_silent()
        assert number(received) == 6


async def test_who_gave_up_during_a_cut_does_not_come_back_after_it(world: World) -> None:
    received = world.directory / "regions" / "eu" / "volumes" / "received"
    await world.set_link("us", "eu", cut=True)
    async with await Caller.inside(world, "us", "eu") as caller:
        caller.send(b"never mind")
        assert await caller.is_silent()
        caller.writer.write_eof()
        assert await caller.ends() == b""
    await world.set_link("us", "eu", cut=False)
    async with await Caller.inside(world, "us", "eu") as caller:
        await caller.ping_s()
    assert number(received) == 1


async def test_a_change_of_delay_takes_effect_at_once_and_can_be_taken_back(world: World) -> None:
    async with await Caller.inside(world, "us", "eu") as caller:
        await caller.ping_s()
        await world.set_link("us", "eu", delay_ms=300)
        assert await caller.ping_s() >= 0.6
        await world.set_link("us", "eu", both=False, delay_ms=0)
        await ping_within(caller, 0.3, 0.6)
        await world.set_link("us", "eu", delay_ms=None)
        await ping_within(caller, 0.08, 0.3)


async def test_a_limited_rate_is_shared_and_kept(world: World) -> None:
    async with await Caller.inside(world, "us", "eu") as bulk, await Caller.inside(world, "us", "eu") as other:
        await bulk.ping_s()
        await other.ping_s()
        # Half a minute's worth: whoever is kept from running for a while still comes in between.
        await world.set_link("us", "eu", both=False, rate_kib_s=4)
        bulk.send(bytes(128 << 10))
        all_of_it = asyncio.create_task(bulk.read(128 << 10))
        await other.ping_s()
        assert not all_of_it.done(), "connections take turns"
        await world.set_link("us", "eu", both=False, rate_kib_s=None)
        await all_of_it
        await world.set_link("us", "eu", both=False, rate_kib_s=64)
        started_s = time.monotonic()
        bulk.send(bytes(128 << 10))
        await bulk.read(128 << 10)
        assert time.monotonic() - started_s >= 1.8


async def test_bulk_arrives_whole_and_in_order(world: World) -> None:
    data = bytes(range(256)) * (64 << 10)
    async with await Caller.inside(world, "us", "eu") as caller:
        caller.send(data)
        caller.writer.write_eof()
        assert await caller.ends() == data + b"bye"
