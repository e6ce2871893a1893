"""A real cluster of one node: restricted pods run behind a ClusterIP, its programs come back, one SIGKILL ends it."""

import asyncio
import os
import select
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import aiohttp
import psutil
import pytest

from leeward.adapters.kubernetes.client import KubernetesCluster
from leeward.adapters.kubernetes.transport import Connection
from leeward.ports.cluster import DEPLOYMENTS, PODS, SERVICES, KubeObject
from leeward.world import namespaces, spawn
from leeward.world.clusters import addresses, main, room
from leeward.world.namespaces import Isolation
from tests.clusters.prepare import ANSWER_IMAGE, answer_archive
from tests.kit.waiting import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

T = TypeVar("T")
INDEX = 7
GROUP = f"leeward-test-{os.getpid()}"
READY_S = 120.0
ANSWER_S = 10.0
POLL_S = 0.2
NAMESPACE = "restricted"
REPLICAS = 2


@dataclass(frozen=True, slots=True)
class Region:
    """A running cluster."""

    pid: int
    directory: Path
    network: int

    def inside(self, body: Callable[[KubernetesCluster], Coroutine[None, None, T]]) -> T:
        """Run something that talks to the cluster from inside its network."""

        def run() -> T:
            namespaces.move_to_network(self.network)
            return asyncio.run(self._with_api(body))

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(run).result()

    async def _with_api(self, body: Callable[[KubernetesCluster], Coroutine[None, None, T]]) -> T:
        pki = self.directory / "pki"
        connection = Connection(
            url=f"https://{addresses.node(INDEX)}:{addresses.API_PORT}",
            ca_file=pki / "ca.crt",
            certificate_file=pki / "admin.crt",
            key_file=pki / "admin.key",
        )
        async with KubernetesCluster(connection) as api:
            return await body(api)


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    directory = tmp_path_factory.mktemp("cluster")
    (directory / main.IMAGES).mkdir()
    (directory / main.IMAGES / "answer.tar").symlink_to(answer_archive())
    command = [sys.executable, "-m", "leeward.world.clusters.main", "--index", str(INDEX)]
    network = namespaces.new_network()
    read, write = os.pipe2(os.O_CLOEXEC)
    with (directory / "region.log").open("wb") as output:
        pid = spawn.start(
            [*command, "--directory", str(directory), "--group", GROUP],
            isolation=Isolation.PRIVILEGED,
            network=network,
            shelter=None,
            directory=str(directory),
            environment=os.environ,
            stdout=write,
            stderr=output.fileno(),
        )
    os.close(write)
    try:
        ready, _, _ = select.select([read], [], [], READY_S)
        said = os.read(read, 64) if ready else b""
        assert said == b"ready\n", (directory / "region.log").read_text("utf-8")
        yield Region(pid, directory, network)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        room.remove_groups(GROUP)
        os.close(read)
        os.close(network)


def test_restricted_pods_answer_behind_a_cluster_ip(region: Region) -> None:
    async def answers(api: KubernetesCluster) -> set[str]:
        for item in _workload():
            await api.apply(item, timeout_s=ANSWER_S)
        await _ready(api)
        service = await api.get(SERVICES, "answer", namespace=NAMESPACE, timeout_s=ANSWER_S)
        return await _ask(f"http://{service['spec']['clusterIP']}", REPLICAS)

    assert len(region.inside(answers)) == REPLICAS


def test_pods_run_on_while_kubelet_and_containerd_are_killed_and_started_again(region: Region) -> None:
    async def one_more(api: KubernetesCluster) -> None:
        for item in _workload(REPLICAS + 1):
            await api.apply(item, timeout_s=ANSWER_S)
        await _ready(api, REPLICAS + 1)

    before = region.inside(_containers)
    for name in ("kubelet", "containerd"):
        (program,) = (each for each in _in_network(region.network) if each.name() == name)
        program.kill()
    region.inside(one_more)
    assert len(before) == REPLICAS
    assert before.items() <= region.inside(_containers).items()


def test_sigkill_to_its_first_process_leaves_nothing(region: Region) -> None:
    assert len(_pod_processes()) >= 2 * REPLICAS, "each pod has its pause program and its container"
    mounted = str(region.directory)
    os.kill(region.pid, signal.SIGKILL)
    os.waitid(os.P_PID, region.pid, os.WEXITED | os.WNOWAIT)
    assert _pod_processes() == []
    assert _in_network(region.network) == []
    assert mounted not in Path("/proc/self/mountinfo").read_text("utf-8")
    room.remove_groups(GROUP)
    assert [path for path in Path("/sys/fs/cgroup").glob(f"*/{GROUP}") if path.exists()] == []


def _workload(replicas: int = REPLICAS) -> list[KubeObject]:
    """Return what a namespace of the restricted profile admits."""
    labels = {"app": "answer"}
    container = {
        "name": "answer",
        "image": ANSWER_IMAGE,
        "imagePullPolicy": "Never",
        "ports": [{"containerPort": 8080}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    pod = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    profile = {"pod-security.kubernetes.io/enforce": "restricted"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": profile}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "answer", "namespace": NAMESPACE},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "answer", "namespace": NAMESPACE},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    ]


async def _ready(api: KubernetesCluster, replicas: int = REPLICAS) -> None:
    await until(
        lambda: api.get(DEPLOYMENTS, "answer", namespace=NAMESPACE, timeout_s=ANSWER_S),
        f"{replicas} pods are ready",
        accept=lambda found: found.get("status", {}).get("readyReplicas") == replicas,
        within_s=READY_S,
        every_s=POLL_S,
    )


async def _ask(url: str, names: int) -> set[str]:
    """Ask, on a new connection each time, until so many different pods have answered."""
    seen: set[str] = set()

    async def ask() -> set[str]:
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as response:
            seen.add(await response.text())
        return seen

    what = f"{names} pods answer at {url}"
    return await until(
        ask, what, accept=lambda found: len(found) == names, within_s=READY_S, not_yet=(aiohttp.ClientError,)
    )


async def _containers(api: KubernetesCluster) -> dict[str, str]:
    """Return the container of each pod, by the pod's name."""
    found = await api.list(PODS, namespace=NAMESPACE, timeout_s=ANSWER_S)
    return {each["metadata"]["name"]: each["status"]["containerStatuses"][0]["containerID"] for each in found.items}


def _in_network(network: int) -> list[psutil.Process]:
    """Return the processes in a network: the cluster's programs, and not its pods."""
    wanted = os.fstat(network).st_ino
    found = []
    for process in psutil.process_iter():
        with suppress(OSError):
            if os.stat(f"/proc/{process.pid}/ns/net").st_ino == wanted and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _pod_processes() -> list[int]:
    found = []
    for process in psutil.process_iter():
        with suppress(OSError):
            if f"/{GROUP}/" in Path(f"/proc/{process.pid}/cgroup").read_text("utf-8"):
                found.append(process.pid)
    return found
