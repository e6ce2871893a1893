"""A service exported by some regions of a real world, asked for in every region by its common name."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from leeward.adapters.kubernetes.client import Connection, KubernetesCluster
from leeward.ports.cluster import DEPLOYMENTS, SERVICE_EXPORTS, SERVICE_IMPORTS
from tests.kit import waiting

pytestmark = [pytest.mark.world, pytest.mark.timeout(1500)]

LEEWARD = str(Path(sys.executable).parent / "leeward")
PAYMENTS = Path(__file__).parents[2] / "examples" / "payments"
US, EU, JP = "us-east-1", "europe-west1", "japaneast"
HOST = "payments.payments.svc.clusterset.local"
GROUP = "multicluster.x-k8s.io/v1alpha1"
WITHIN_S = 240
CALL_S = 30.0


class World:
    def __init__(self, home: Path, session: aiohttp.ClientSession) -> None:
        self._environment = {**os.environ, "LEEWARD_HOME": str(home)}
        self._directory = home / "exports"
        self._session = session

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [LEEWARD, *arguments, "--world", "exports"]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=250, check=False)

    def region(self, name: str) -> dict[str, Any]:
        document = json.loads((self._directory / "world.json").read_text())
        return next(each for each in document["regions"] if each["name"] == name)

    def cluster(self, region: str) -> KubernetesCluster:
        operator = self._directory / "operator"
        return KubernetesCluster(
            Connection(
                url=self.region(region)["api_url"],
                ca_file=operator / "cluster-ca.crt",
                token_file=operator / "token",
                server_name=region,
            )
        )

    async def write(self, kind: str, region: str, **fields: object) -> None:
        item = {"apiVersion": GROUP, "kind": kind, "metadata": {"name": "payments", "namespace": "payments"}, **fields}
        async with self.cluster(region) as cluster:
            await cluster.apply(item, timeout_s=CALL_S)

    async def forget(self, region: str) -> None:
        async with self.cluster(region) as cluster:
            await cluster.delete(SERVICE_EXPORTS, "payments", namespace="payments", timeout_s=CALL_S)

    async def scale(self, region: str, replicas: int) -> None:
        async with self.cluster(region) as cluster:
            patch = {"spec": {"replicas": replicas}}
            await cluster.patch(DEPLOYMENTS, "payments", patch, namespace="payments", timeout_s=CALL_S)

    async def served_by(self) -> dict[str, str]:
        """Return who answers in each region: a region, or the code of the refusal."""
        return {region: await self._served_by(region) for region in (US, EU, JP)}

    async def _served_by(self, region: str) -> str:
        url = f"{self.region(region)['services_url']}/healthz"
        try:
            async with self._session.get(url, headers={"Host": HOST}) as answer:
                if answer.status == 200:
                    return answer.headers["x-leeward-region"]
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            # A request may be under way to pods that go.
            return repr(error)
        try:
            return str(json.loads(text)["code"])
        except ValueError:
            # Envoy's own words, for the moment until it has taken in what is no longer there.
            return text

    async def conditions(self, region: str) -> dict[str, str]:
        async with self.cluster(region) as cluster:
            item = await cluster.get(SERVICE_EXPORTS, "payments", namespace="payments", timeout_s=CALL_S)
        return {each["type"]: each["status"] for each in item.get("status", {}).get("conditions", ())}

    async def exporters(self, region: str) -> list[str]:
        async with self.cluster(region) as cluster:
            item = await cluster.get(SERVICE_IMPORTS, "payments", namespace="payments", timeout_s=CALL_S)
        return [each["cluster"] for each in item.get("status", {}).get("clusters", ())]


async def until(read: Callable[[], Awaitable[object]], expected: object) -> None:
    """Ask again and again: each agent learns of the others' exports at a time of its own."""
    await waiting.until(read, repr(expected), accept=lambda found: found == expected, within_s=WITHIN_S, every_s=0.2)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    home = Path(tempfile.mkdtemp(prefix="lw-", dir="/tmp"))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_S)) as session:
        built = World(home, session)
        try:
            up = await asyncio.to_thread(built.run, "up", str(PAYMENTS), "--timeout", "200s")
            assert up.returncode == 0, up.stderr
            yield built
        finally:
            await asyncio.to_thread(built.run, "down")
            shutil.rmtree(home, ignore_errors=True)


async def test_exported_services_are_reached_from_every_region(world: World) -> None:
    await until(world.served_by, {US: "not-exported", EU: "not-exported", JP: "not-exported"})

    # us does not export it, though it runs it: it asks the nearest one that does.
    await world.write("ServiceExport", EU)
    await world.write("ServiceExport", JP)
    await world.write("ServiceImport", US, spec={"type": "ClusterSetIP", "ports": [{"port": 8000}]})
    await until(world.served_by, {US: EU, EU: EU, JP: JP})
    await until(lambda: world.conditions(EU), {"Valid": "True", "Ready": "True"})
    await until(lambda: world.exporters(US), [EU, JP])

    # eu exports it, and has nobody.
    await world.scale(EU, 0)
    await until(world.served_by, {US: JP, EU: JP, JP: JP})
    await world.scale(EU, 2)
    await until(world.served_by, {US: EU, EU: EU, JP: JP})

    # The nearest one is lost.
    assert (await asyncio.to_thread(world.run, "fault", "kill", "--region", EU)).returncode == 0
    await until(lambda: world._served_by(US), JP)
