"""A region's embedded cluster in a process of its own, for tests: outside of any namespace, on 127.10.2xx.1."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leeward.adapters.kubernetes.client import Connection, KubernetesCluster
from leeward.ports.cluster import KubeObject, Resource
from tests.kit import waiting
from tests.kit.certificates import Authority

NAME = "r200"
PORT = 6443
TOKEN = "a-token-of-the-tests"
WAIT_S = 90.0
NAMESPACE = "app"
INDICES = range(200, 250)
LOCK_PORT = 6444
WAY_PORT = 6445
"""Of a way to the API server that a test can cut."""


@dataclass(slots=True)
class Region:
    """One region: its directory lasts, its process comes and goes."""

    directory: Path
    index: int
    process: asyncio.subprocess.Process | None = None

    @property
    def host(self) -> str:
        return f"127.10.{self.index}.1"

    @property
    def connection(self) -> Connection:
        return Connection(
            url=f"https://{self.host}:{PORT}",
            ca_file=self.directory / "identity" / "ca.crt",
            token_file=self.directory / "token",
            server_name=NAME,
        )

    def home_of(self, pod: KubeObject) -> Path:
        """Return the directory of a pod's own."""
        return self.directory / "pods" / str(pod["metadata"]["uid"])[:8]

    def write_manifests(self, *items: KubeObject, file: str = "10-test.json") -> None:
        manifests = self.directory / "manifests"
        manifests.mkdir(exist_ok=True)
        fresh = manifests / f"{file}.new"
        fresh.write_text(json.dumps(list(items)))
        fresh.replace(manifests / file)

    async def start(self, *more: str, environment: dict[str, str] | None = None) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "leeward.world.kubernetes.main",
            "--region", NAME, "--index", str(self.index), "--directory", str(self.directory),
            "--listen", f"{self.host}:{PORT}", "--token-file", str(self.directory / "token"),
            "--identity", str(self.directory / "identity"), *more,
            stdout=asyncio.subprocess.PIPE, env={**os.environ, **(environment or {})},
        )  # fmt: skip
        assert self.process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            assert await self.process.stdout.readline() == b"ready\n"

    async def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WAIT_S):
            return await self.process.wait()

    async def kill(self) -> None:
        """SIGKILL, as a region is lost. The pods die with it: by parent-death signal, outside of a namespace."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def region_in(directory: Path) -> AsyncIterator[Region]:
    """Yield a region with an identity, a token and a namespace, not yet started; stop it at the end."""
    Authority().issue(NAME, directory / "identity")
    (directory / "token").write_text(f"{TOKEN}\n")
    lock, index = _free_index()
    region = Region(directory, index)
    region.write_manifests(namespace(NAMESPACE), file="00-namespace.json")
    try:
        yield region
    finally:
        if region.process is not None and region.process.returncode is None:
            await region.stop()
        lock.close()


def _free_index() -> tuple[socket.socket, int]:
    """Return an address block that no other test has, here or in a process beside, and the lock on it."""
    for index in INDICES:
        lock = socket.socket()
        try:
            lock.bind((f"127.10.{index}.1", LOCK_PORT))
        except OSError:
            lock.close()
        else:
            return lock, index
    raise AssertionError("every address block of the tests is taken")


def namespace(name: str) -> KubeObject:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def workload(
    kind: str, name: str, pod_spec: KubeObject, *, annotations: dict[str, str] | None = None, **spec: Any
) -> KubeObject:
    """Return a Deployment or StatefulSet whose pods carry the label ``app: NAME``."""
    metadata = {"labels": {"app": name}, "annotations": {"leeward.dev/probe-period-s": "0.1", **(annotations or {})}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": metadata, "spec": {"terminationGracePeriodSeconds": 1, **pod_spec}},
            **spec,
        },
    }


def service(name: str, port: int = 8000) -> KubeObject:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": port}]},
    }


def shell(script: str, **container: Any) -> KubeObject:
    """Return a pod's specification with one container that runs a shell script."""
    return {"containers": [{"name": "main", "command": ["sh", "-c", script], **container}]}


async def until(
    cluster: KubernetesCluster,
    resource: Resource,
    holds: Callable[[tuple[KubeObject, ...]], bool],
    *,
    namespace: str = NAMESPACE,
    labels: str = "",
) -> tuple[KubeObject, ...]:
    """Wait until a condition holds for the objects of a namespace, and return them."""
    items: dict[str, KubeObject] = {}
    try:
        async with asyncio.timeout(WAIT_S):
            listing = await cluster.list(resource, namespace=namespace, label_selector=labels, timeout_s=WAIT_S)
            items = {item["metadata"]["name"]: item for item in listing.items}
            if holds(tuple(items.values())):
                return tuple(items.values())
            async for event in cluster.watch(
                resource,
                namespace=namespace,
                label_selector=labels,
                resource_version=listing.resource_version,
                timeout_s=WAIT_S,
            ):
                items[event.item["metadata"]["name"]] = event.item
                if event.change == "DELETED":
                    del items[event.item["metadata"]["name"]]
                if holds(tuple(items.values())):
                    return tuple(items.values())
    except TimeoutError:
        raise AssertionError(f"never so in {WAIT_S:g} s; last seen: {json.dumps(list(items.values()))}") from None
    raise AssertionError("the watch ended")


def ready(count: int) -> Callable[[tuple[KubeObject, ...]], bool]:
    """Return the condition that exactly so many pods exist, all of them ready."""

    def holds(pods: tuple[KubeObject, ...]) -> bool:
        return len(pods) == count and all(map(is_ready, pods))

    return holds


def is_ready(pod: KubeObject) -> bool:
    rows = pod.get("status", {}).get("conditions", ())
    return "deletionTimestamp" not in pod["metadata"] and ("Ready", "True") in {(r["type"], r["status"]) for r in rows}


def container_status(pod: KubeObject) -> KubeObject:
    """Return the status of a pod's only container."""
    rows: list[KubeObject] = pod.get("status", {}).get("containerStatuses") or [{"state": {}, "restartCount": 0}]
    return rows[0]


def pid_of(pod: KubeObject) -> int:
    return int(container_status(pod)["containerID"].removeprefix("process://"))


def exists(pid: int) -> bool:
    """Return whether there is such a process, a zombie included."""
    return Path(f"/proc/{pid}").exists()


async def so(holds: Callable[[], bool]) -> None:
    """Wait until something outside of the API is so."""
    await waiting.until(holds, within_s=WAIT_S)


async def log_of(cluster: KubernetesCluster, pod: str, **options: Any) -> str:
    pieces = [piece async for piece in cluster.logs(pod, namespace=NAMESPACE, timeout_s=WAIT_S, **options)]
    return b"".join(pieces).decode()
