"""Watches over broken connections and restarted servers: resumed exactly, or told that it is too late."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import aiohttp
import pytest

from leeward.adapters.kubernetes.client import KubernetesCluster
from leeward.ports.cluster import CONFIG_MAPS, ClusterUnavailableError, ExpiredError, KubeObject, WatchEvent
from leeward.world.kubernetes.server import BODY_MAX_BYTES
from tests.world.kubernetes.region import NAMESPACE, PORT, TOKEN, WAIT_S, WAY_PORT, Region


def config(value: str) -> KubeObject:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": NAMESPACE},
        "data": {"value": value},
    }


class Way:
    """A way to the API server that can be cut, in the region's own block: nobody takes its port meanwhile."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = f"https://{region.host}:{WAY_PORT}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, self._region.host, WAY_PORT)

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks)
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_connection(self._region.host, PORT)
        self._writers |= {writer, behind[1]}
        for source, sink in ((reader, behind[1]), (behind[0], writer)):
            task = asyncio.create_task(self._copy(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()


@asynccontextmanager
async def way_to(region: Region) -> AsyncIterator[Way]:
    way = Way(region)
    await way.open()
    try:
        yield way
    finally:
        await way.cut()


async def next_of(events: AsyncIterator[WatchEvent]) -> WatchEvent:
    async with asyncio.timeout(WAIT_S):
        return await anext(events)


async def test_a_cut_watch_goes_on_without_gap_or_repetition(region: Region, cluster: KubernetesCluster) -> None:
    await region.start()
    async with way_to(region) as way, KubernetesCluster(replace(region.connection, url=way.url)) as far:
        events = aiter(far.watch(CONFIG_MAPS, namespace=NAMESPACE, timeout_s=WAIT_S))
        waiting = asyncio.create_task(next_of(events))
        await cluster.apply(config("0"), timeout_s=WAIT_S)
        seen = [await waiting]
        await way.cut()
        for value in "12":
            await cluster.apply(config(value), timeout_s=WAIT_S)
        await way.open()
        seen += [await next_of(events), await next_of(events)]
        assert [event.item["data"]["value"] for event in seen] == ["0", "1", "2"]
        await way.cut()
        short = far.watch(CONFIG_MAPS, resource_version="1", namespace=NAMESPACE, timeout_s=0.2)
        with pytest.raises(ClusterUnavailableError):
            await next_of(aiter(short))


async def test_a_version_from_before_the_history_has_expired(region: Region, cluster: KubernetesCluster) -> None:
    await region.start()
    with pytest.raises(ExpiredError):
        await next_of(aiter(cluster.watch(CONFIG_MAPS, resource_version="1", timeout_s=WAIT_S)))


async def test_a_watch_from_before_a_restart_is_told_so(region: Region, cluster: KubernetesCluster) -> None:
    await region.start()
    await cluster.apply(config("0"), timeout_s=WAIT_S)
    events = aiter(cluster.watch(CONFIG_MAPS, namespace=NAMESPACE, timeout_s=WAIT_S))
    await next_of(events)
    await region.stop()
    await region.start()
    with pytest.raises(ExpiredError):
        await next_of(events)


async def test_bookmarks_timeouts_and_discovery_as_clients_expect_them(region: Region) -> None:
    await region.start()
    base = f"https://{region.host}:{PORT}"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:

        async def get(path: str) -> KubeObject:
            async with session.get(base + path, ssl=False) as response:
                document: KubeObject = await response.json()
                return document

        assert "v1" in (await get("/api"))["versions"]
        groups = {group["name"] for group in (await get("/apis"))["groups"]}
        assert {"apps", "autoscaling", "policy", "discovery.k8s.io"} <= groups
        assert "deployments" in {row["name"] for row in (await get("/apis/apps/v1"))["resources"]}
        nothing = await get("/apis/apps/v1/namespaces/app/deployments/nothing")
        assert (nothing["kind"], nothing["reason"], nothing["code"]) == ("Status", "NotFound", 404)
        # A watch that may last no longer than this ends by itself, in good order.
        async with session.get(f"{base}/api/v1/pods?watch=1&timeoutSeconds=1", ssl=False) as response:
            assert await response.read() == b""
    async with aiohttp.ClientSession() as stranger:
        async with stranger.get(f"{base}/healthz", ssl=False) as response:
            assert (response.status, await response.text()) == (200, "ok")
        async with stranger.get(f"{base}/api/v1/pods", ssl=False) as response:
            assert response.status == 401
            assert (await response.json())["reason"] == "Unauthorized"
        # Before any of its body is read: what is too large is not even noticed.
        too_large = io.BytesIO(b" " * (BODY_MAX_BYTES + 1))
        async with stranger.post(f"{base}/api/v1/namespaces/app/pods", data=too_large, ssl=False) as response:
            assert response.status == 401
