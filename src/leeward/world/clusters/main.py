"""A region's real cluster as one process: ``python -m leeward.world.clusters.main``, pid 1 of its pid namespace.

It starts every program, starts again what ends, and prints ``ready`` once the node is. SIGKILL to it ends everything,
containers included. It needs root, a pid namespace and a network of its own.
"""

import argparse
import asyncio
import datetime
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from leeward.adapters.kubernetes.client import KubernetesCluster
from leeward.adapters.kubernetes.transport import Connection
from leeward.kit import logs
from leeward.ports.cluster import NAMESPACES, NODES, ClusterUnavailableError, NotFoundError, RejectedError
from leeward.world.clusters import addresses, credentials, node, programs, room
from leeward.world.clusters.node import Node
from leeward.world.kubernetes.processes import Child, Processes, Program

READY_S = 120.0
POLL_S = 0.1
QUESTION_S = 2.0
RESTART_S = 1.0
EXIT_CANNOT_RUN = 2
IMAGES = "images"
"""Directory of docker archives that are imported when the cluster starts, in the region's directory."""

log = structlog.get_logger()


class NotReadyError(Exception):
    """A part of the cluster did not become ready in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    index: int
    directory: Path
    group: str


def parse(arguments: Sequence[str]) -> Options:
    """Return the options, or exit with a usage message."""
    parser = argparse.ArgumentParser(prog="leeward.world.clusters.main", description=__doc__)
    parser.add_argument("--index", type=int, required=True, help="the node is 10.250.INDEX.1")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--group", required=True, help="name of the control group of the region's pods")
    found = parser.parse_args(arguments)
    if not 1 <= found.index <= 254:
        parser.error("--index is from 1 to 254")
    return Options(index=found.index, directory=found.directory.absolute(), group=found.group)


class Cluster:
    """Every program of the cluster; each is started again when it ends."""

    def __init__(self, config: Node) -> None:
        self._config = config
        self._processes = Processes()
        self._tasks: set[asyncio.Task[None]] = set()
        self._environment = {
            "PATH": config.programs.path(),
            "LD_LIBRARY_PATH": str(config.programs.libraries),
            "HOME": "/root",
        }

    async def run(self) -> None:
        """Start everything, print ``ready``, and run until cancelled. Raises NotReadyError, OSError."""
        config = self._config
        self._processes.start()
        async with KubernetesCluster(_administrator(config)) as api:
            for name, arguments in node.control_plane(config).items():
                self._start(name, arguments)
                if name == "kube-apiserver":
                    await _until("kube-apiserver answers", lambda: _answers(api))
            for name, arguments in node.machine(config).items():
                self._start(name, arguments)
                if name == "containerd":
                    await _until("containerd answers", self._containerd_answers)
                    await self._import_images()
            await _until("the node is ready", lambda: _node_is_ready(api, config.index))
        print("ready", flush=True)
        await asyncio.gather(*self._tasks)

    def _start(self, name: str, arguments: Sequence[str]) -> None:
        self._tasks.add(asyncio.create_task(self._keep_running(name, arguments), name=name))

    async def _keep_running(self, name: str, arguments: Sequence[str]) -> None:
        while True:
            status = await self._spawn(name, arguments).wait()
            log.warning("program ended; restarting it", program=name, exit_status=status)
            await asyncio.sleep(RESTART_S)

    def _spawn(self, name: str, arguments: Sequence[str]) -> Child:
        output = os.open(self._config.directory / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            program = Program(
                arguments=(str(self._config.programs.paths[name]), *arguments),
                environment=self._environment,
                directory=self._config.directory,
                identity=name,
                translate=str,
            )
            return self._processes.spawn(program, output)
        finally:
            os.close(output)

    async def _containerd_answers(self) -> bool:
        return await self._spawn("ctr", (f"--address={node.CONTAINERD_SOCKET}", "version")).wait() == 0

    async def _import_images(self) -> None:
        archives = (self._config.programs.pause_image, *sorted((self._config.directory / IMAGES).glob("*.tar")))
        for archive in archives:
            command = (f"--address={node.CONTAINERD_SOCKET}", "--namespace=k8s.io", "images", "import", str(archive))
            if await self._spawn("ctr", command).wait():
                raise NotReadyError(f"containerd refused {archive}: {self._config.directory / 'ctr.log'} says why")


def _administrator(config: Node) -> Connection:
    return Connection(
        url=f"https://{addresses.node(config.index)}:{addresses.API_PORT}",
        ca_file=config.pki / "ca.crt",
        certificate_file=config.pki / "admin.crt",
        key_file=config.pki / "admin.key",
    )


async def _answers(api: KubernetesCluster) -> bool:
    try:
        await api.get(NAMESPACES, "kube-system", timeout_s=QUESTION_S)
    except (ClusterUnavailableError, NotFoundError, RejectedError):
        return False
    return True


async def _node_is_ready(api: KubernetesCluster, index: int) -> bool:
    try:
        found = await api.get(NODES, credentials.node_name(index), timeout_s=QUESTION_S)
    except (ClusterUnavailableError, NotFoundError, RejectedError):
        return False
    conditions: Sequence[Mapping[str, str]] = found.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


async def _until(what: str, holds: Callable[[], Awaitable[bool]]) -> None:
    deadline_s = asyncio.get_running_loop().time() + READY_S
    while not await holds():
        if asyncio.get_running_loop().time() > deadline_s:
            raise NotReadyError(f"waited {READY_S:g} s in vain until {what}")
        await asyncio.sleep(POLL_S)


async def serve(config: Node) -> None:
    """Run the cluster until SIGTERM or SIGINT. Raises NotReadyError, OSError."""
    running = asyncio.create_task(Cluster(config).run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        log.info("cluster is stopping")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    logs.configure("cluster", logs.Form.TEXT)
    found = programs.find()
    if isinstance(found, tuple):
        print(f"a real cluster needs {', '.join(found)}; run: make clusters", file=sys.stderr)
        return EXIT_CANNOT_RUN
    config = Node(index=options.index, directory=options.directory, programs=found, group=options.group)
    try:
        _prepare(config)
        asyncio.run(serve(config))
    except (OSError, NotReadyError) as error:
        log.error("cannot run the cluster", because=str(error))
        return EXIT_CANNOT_RUN
    return 0


def _prepare(config: Node) -> None:
    config.directory.mkdir(parents=True, exist_ok=True)
    room.make_groups(config.group)
    needed = {Path(sys.prefix), *(path.parent for path in config.programs.paths.values())}
    room.enter(config.directory, credentials.node_name(config.index), sorted(needed))
    room.connect(config.programs.paths["ip"], config.index)
    if not config.pki.exists():
        credentials.write(config.directory, config.index, datetime.datetime.now(datetime.UTC))
    for name, text in node.files(config).items():
        path = config.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
