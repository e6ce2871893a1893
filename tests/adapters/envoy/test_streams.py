"""TCP through real gateways: to the primary's PostgreSQL, and to a given region's."""

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.adapters.envoy.conftest import Pair
from tests.adapters.envoy.rig import EGRESS, EU, TIMEOUT_S, US, Node, Stream, eventually

pytestmark = pytest.mark.engine
POSTGRES = 5432
MANY = 12
"""Tunnels: those in reserve, and checks under way."""
CUT_S, OUTLIVED_S = 1.5, 4.0
"""How long a cut lasts, and how long one may last at most: the peers' keepalive gives up after five seconds."""
ESTABLISHED, KEEPALIVE_TIMER = "01", "02"
Endpoint = tuple[str, int]


async def test_primary_port_follows_the_primary(pair: Pair) -> None:
    for primary in (US, EU):
        for node in (pair.us, pair.eu):
            await node.apply(primary)
        for node in (pair.us, pair.eu):
            await node.warm("postgres")
            stream = await node.connect(POSTGRES)
            assert await stream.ask("hello") == f"{primary} hello"


async def test_egress_leads_to_each_region_whoever_is_primary(pair: Pair) -> None:
    for node in (pair.us, pair.eu):
        await node.apply(None)
    for node in (pair.us, pair.eu):
        await node.warm("postgres")
    for node in (pair.us, pair.eu):
        for region, port in EGRESS.items():
            assert await (await node.connect(port)).ask("replicate") == f"{region} replicate"


async def test_without_a_primary_connections_are_closed(pair: Pair) -> None:
    await pair.us.apply(US)
    old = await pair.us.connect(POSTGRES)
    assert await old.ask("hello") == "us hello"
    await pair.us.apply(None)
    await old.closed()
    await (await pair.us.connect(POSTGRES)).closed()


@pytest.mark.parametrize("black_hole", [False, True])
async def test_a_deposed_primary_loses_its_connections(pair: Pair, black_hole: bool) -> None:
    for node in (pair.us, pair.eu):
        await node.apply(US)
    await pair.eu.warm("postgres")
    remote, local = await pair.eu.connect(POSTGRES), await pair.us.connect(POSTGRES)
    for stream in (remote, local):
        assert await stream.ask("hello") == "us hello"
    if black_hole:
        pair.eu.link.cut()
    for node, stream in ((pair.eu, remote), (pair.us, local)):
        began_s = time.monotonic()
        closed = asyncio.create_task(_closed_s(stream, began_s))
        applied_s = await node.apply(EU, epoch=2)
        print(
            f"{node.region}: old connections closed after {await closed * 1000:.0f} ms, "
            f"applied after {applied_s * 1000:.0f} ms (black hole: {black_hole})"
        )
    stream = await pair.eu.connect(POSTGRES)
    assert await stream.ask("again") == "eu again"


async def test_connections_stay_when_the_primary_stays(pair: Pair) -> None:
    await pair.us.apply(US, epoch=1)
    await pair.eu.apply(US, epoch=1)
    await pair.eu.warm("postgres")
    streams = [await pair.us.connect(POSTGRES), await pair.eu.connect(POSTGRES), await pair.eu.connect(EGRESS[US])]
    for stream in streams:
        assert await stream.ask("first") == "us first"
    for epoch in range(2, 6):
        await pair.us.apply(US, pods=tuple(pair.us.pods[: epoch % 2]), fallbacks=(EU,) * (epoch % 2), epoch=epoch)
        await pair.eu.apply(US, pods=tuple(pair.eu.pods[: epoch % 2]), epoch=epoch)
    for stream in streams:
        assert await stream.ask("second") == "us second"


async def test_replication_survives_a_failover_elsewhere(pair: Pair) -> None:
    """A change of primary closes the primary port's connections only, not those to a named region."""
    for node in (pair.us, pair.eu):
        await node.apply(US)
    await pair.us.warm("postgres")
    stream = await pair.us.connect(EGRESS[EU])
    assert await stream.ask("first") == "eu first"
    await pair.us.apply(EU)
    assert await stream.ask("second") == "eu second"


async def test_a_stream_outlives_a_cut_shorter_than_a_lease(pair: Pair) -> None:
    for node in (pair.us, pair.eu):
        await node.apply(US)
    give_up_s = time.monotonic() + TIMEOUT_S
    answer, took_s = await _ask_during_a_cut(pair)
    # A machine that paused made the cut longer than any stream need outlive: then another stream shows it.
    while answer != "us second" and took_s >= OUTLIVED_S and time.monotonic() < give_up_s:
        answer, took_s = await _ask_during_a_cut(pair)
    assert answer == "us second", f"{took_s:.1f} s after the cut"


async def test_a_new_stream_costs_one_round_trip(pair: Pair) -> None:
    for node in (pair.us, pair.eu):
        node.link.delay_s = 0.1
        await node.apply(US)
    await pair.eu.warm("postgres")
    taken_s: list[float] = []
    # Without a tunnel in reserve it is two round trips, without any connection four: never less. The best is one.
    give_up_s = time.monotonic() + TIMEOUT_S
    while min(taken_s, default=1.0) >= 0.39:
        assert time.monotonic() < give_up_s, taken_s
        began_s = time.monotonic()
        stream = await pair.eu.connect(EGRESS[US])
        assert await stream.ask("hello") == "us hello"
        taken_s.append(time.monotonic() - began_s)
        stream.writer.close()
    print("first byte over a link of 200 ms round trip:", [f"{each * 1000:.0f} ms" for each in taken_s])


async def test_tunnels_in_reserve_do_not_touch_postgres_and_stay_few(pair: Pair) -> None:
    for node in (pair.us, pair.eu):
        await node.apply(US)
    await pair.eu.warm("postgres")
    assert pair.us.postgres.accepted == 0
    streams = [await pair.eu.connect(EGRESS[US]) for _ in range(20)]
    for stream in streams:
        assert await stream.ask("hello") == "us hello"
    assert pair.us.postgres.accepted == 20
    for stream in streams:
        stream.writer.close()

    async def few() -> bool:
        return (
            await pair.eu.stat("cluster.spare.payments.us.upstream_cx_active") <= 10
            and pair.us.postgres.connections == 0
        )

    await eventually(few)


async def test_checks_that_keep_tunnels_in_reserve_leave_nothing_behind(pair: Pair) -> None:
    for node in (pair.us, pair.eu):
        await node.apply(US)
    await pair.eu.warm("postgres")

    async def checked() -> bool:
        return await pair.eu.stat("cluster.warm.spare.payments.us.health_check.attempt") >= 45

    await eventually(checked)
    assert await _tunnels(pair) <= MANY


@pytest.mark.parametrize("port", [POSTGRES, EGRESS[EU]], ids=["elsewhere", "here"])
@pytest.mark.parametrize("words", ["", "hello"], ids=["silent", "after a word"])
async def test_clients_that_hang_up_leave_nothing_behind(pair: Pair, port: int, words: str) -> None:
    for node in (pair.us, pair.eu):
        await node.apply(US)
    await pair.eu.warm("postgres")
    streams = [await pair.eu.connect(port) for _ in range(3 * MANY)]
    for stream in streams:
        assert not words or await stream.ask(words)
        stream.writer.close()

    async def nothing_left() -> bool:
        local = await pair.eu.stat("cluster.local.payments.upstream_cx_active")
        return await _tunnels(pair) <= MANY and local == 0

    await eventually(nothing_left)


async def test_a_client_that_vanishes_is_looked_for(pair: Pair) -> None:
    """The kernel runs its keepalive timer on what the gateway accepted, and on what it opened to PostgreSQL."""
    for node in (pair.us, pair.eu):
        await node.apply(US)
    stream = await pair.us.connect(POSTGRES)
    assert await stream.ask("hello") == "us hello"
    accepted = _keepalive_timers(lambda local, _remote: local == (pair.us.settings.host, POSTGRES))
    opened = _keepalive_timers(lambda _local, remote: remote == (pair.us.postgres.address.host, 5432))
    assert accepted
    assert opened
    assert all([*accepted, *opened])


async def test_a_region_that_returns_is_reached_again(pair: Pair) -> None:
    for node in (pair.us, pair.eu):
        await node.apply(US)
    await pair.eu.warm("postgres")
    pair.eu.link.cut()
    await _until_no_tunnel(pair.eu)
    pair.eu.link.heal()
    await pair.eu.warm("postgres")
    stream = await pair.eu.connect(POSTGRES)
    assert await stream.ask("back") == "us back"


async def _ask_during_a_cut(pair: Pair) -> tuple[str, float]:
    """Return what a new stream answers to what it was asked during a cut, and how long after the cut began."""
    await pair.eu.warm("postgres")
    stream = await pair.eu.connect(EGRESS[US])
    assert await stream.ask("first") == "us first"
    sent = "cluster.spare.payments.us.upstream_cx_tx_bytes_total"
    before = await pair.eu.stat(sent)

    async def on_its_way() -> bool:
        return await pair.eu.stat(sent) >= before + len("second\n")

    began_s = time.monotonic()
    pair.eu.link.cut()
    answer = asyncio.create_task(stream.ask("second"))
    await eventually(on_its_way)
    await asyncio.sleep(began_s + CUT_S - time.monotonic())
    pair.eu.link.heal()
    return await answer, time.monotonic() - began_s


async def _tunnels(pair: Pair) -> int:
    """Return how many tunnels from eu to us are open, at the end that has most of them."""
    return max(
        await pair.us.stat("cluster.late.payments.upstream_rq_active"),
        await pair.us.stat("http.tunnel.downstream_rq_active"),
        await pair.eu.stat("cluster.spare.payments.us.upstream_cx_active"),
        await pair.eu.stat("cluster.postgres.us.upstream_rq_active"),
    )


def _keepalive_timers(chosen: Callable[[Endpoint, Endpoint], bool]) -> list[bool]:
    """Return for each established connection that is chosen whether its keepalive timer runs (proc(5), net/tcp)."""
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _number, local, remote, state, _queues, timer, *_ = line.split()
        if state == ESTABLISHED and chosen(_endpoint(local), _endpoint(remote)):
            found.append(timer.partition(":")[0] == KEEPALIVE_TIMER)
    return found


def _endpoint(text: str) -> Endpoint:
    host, _, port = text.partition(":")
    return socket.inet_ntoa(bytes.fromhex(host)[::-1]), int(port, 16)


async def _closed_s(stream: Stream, began_s: float) -> float:
    await stream.closed()
    return time.monotonic() - began_s


async def _until_no_tunnel(node: Node) -> None:
    async def gone() -> bool:
        return await node.stat("cluster.postgres.us.upstream_rq_active") == 0

    await eventually(gone)
