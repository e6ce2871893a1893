"""Telling a real Envoy: whatever order things start in, however often."""

import asyncio
import os
import signal
import time

import psutil
import pytest

from leeward.ports.gateway import GatewayUnavailableError
from tests.adapters.envoy.conftest import Pair
from tests.adapters.envoy.rig import EU, PAY, TIMEOUT_S, US, eventually

pytestmark = pytest.mark.engine


async def test_routes_written_before_envoy_starts_are_served(pair: Pair) -> None:
    await pair.us.stop_envoy()
    telling = asyncio.create_task(pair.us.apply(US))
    async with pair.us.envoy():
        await telling
        assert (await pair.us.request("GET")).region == US


async def test_an_envoy_that_restarts_serves_what_it_did(pair: Pair) -> None:
    await pair.us.apply(US)
    await pair.us.stop_envoy()
    async with pair.us.envoy():
        await pair.us.apply(US)
        assert (await pair.us.request("POST")).region == US


async def test_an_envoy_that_is_gone_is_reported_and_follows_later(pair: Pair) -> None:
    await pair.us.apply(US)
    await pair.us.stop_envoy()
    with pytest.raises(GatewayUnavailableError, match=r"rds\.users\.json"):
        await pair.us.gateway.apply((pair.us.route(None),), timeout_s=0.3)
    async with pair.us.envoy():

        async def follows() -> bool:
            return (await pair.us.request("POST")).status == 503

        await eventually(follows)


async def test_an_envoy_that_hangs_is_reported_in_time(pair: Pair) -> None:
    await pair.us.apply(US)
    os.kill(pair.us.process.pid, signal.SIGSTOP)
    began_s = time.monotonic()
    try:
        with pytest.raises(GatewayUnavailableError):
            await pair.us.gateway.apply((pair.us.route(None),), timeout_s=0.3)
    finally:
        os.kill(pair.us.process.pid, signal.SIGCONT)
    assert time.monotonic() - began_s < 60
    await pair.us.apply(US)
    assert (await pair.us.request("POST")).status == 200


async def test_a_refused_update_is_repeated(pair: Pair) -> None:
    """Envoy drops a file it cannot take and would not look at it again by itself."""
    away = f"{pair.us.settings.identity_dir}.away"
    os.rename(pair.us.settings.identity_dir, away)
    telling = asyncio.create_task(pair.us.apply(US))

    async def refused() -> bool:
        return await pair.us.stat("sds.identity.update_rejected") > 0

    await eventually(refused)
    os.rename(away, pair.us.settings.identity_dir)
    await telling
    assert (await pair.us.request("GET")).region == US


async def test_quick_changes_end_with_the_last(pair: Pair) -> None:
    await pair.us.apply(US)
    took_s = []
    for number in range(40):
        pods = tuple(pair.us.pods[: 1 + number % 2])
        took_s.append(await pair.us.apply((US, EU, None)[number % 3], pods=pods, epoch=number))
    took_s.sort()
    print(f"update: median {took_s[20] * 1000:.1f} ms, slowest {took_s[-1] * 1000:.1f} ms")
    await asyncio.gather(*(pair.us.apply(primary) for primary in (None, EU, None, US)))
    assert (await pair.us.request("POST")).region == US
    assert pair.us.process.returncode is None


async def test_files_of_a_removed_application_go(pair: Pair) -> None:
    await pair.us.apply(US)
    await pair.us.gateway.apply((), timeout_s=TIMEOUT_S)
    assert not [name for name in os.listdir(pair.us.settings.config_dir) if name.startswith("eds.")]
    assert (await pair.us.request("GET")).status == 404
    await pair.us.apply(US)
    assert (await pair.us.request("GET", headers={"host": f"{PAY}.example"})).status == 200


async def test_it_is_small(pair: Pair) -> None:
    await pair.us.apply(US, fallbacks=(EU,))
    await pair.eu.apply(US, fallbacks=(US,))
    await pair.eu.warm("postgres")
    resident_mib = psutil.Process(pair.us.process.pid).memory_info().rss / 2**20
    print(f"Envoy: {resident_mib:.0f} MiB resident")
    assert resident_mib < 200
