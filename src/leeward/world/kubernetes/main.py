"""The embedded cluster of one region as a process: ``python -m leeward.world.kubernetes.main``.

It serves as pid 1 of the region's pid namespace. Objects come from DIRECTORY/manifests at every start, and Secrets that
change there are reloaded while it runs; only volumes and logs last.
"""

import argparse
import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from leeward.kit import logs
from leeward.kit.http.tls_files import open_server
from leeward.ports.cluster import NODES
from leeward.world.kubernetes import proctree
from leeward.world.kubernetes.autoscaler import Autoscaler
from leeward.world.kubernetes.controllers import Controllers
from leeward.world.kubernetes.environment import Engines
from leeward.world.kubernetes.manifests import ManifestError, Manifests
from leeward.world.kubernetes.probes import Prober
from leeward.world.kubernetes.processes import Processes
from leeward.world.kubernetes.recorder import Recorder
from leeward.world.kubernetes.registry import Registry
from leeward.world.kubernetes.runner import PodRunner
from leeward.world.kubernetes.server import ApiServer
from leeward.world.kubernetes.store import Store
from leeward.world.kubernetes.volumes import PRIVATE_DIRECTORY, Directories
from leeward.world.kubernetes.worker import Node

SHUTDOWN_S = 10.0
log = structlog.get_logger()
EXIT_CANNOT_RUN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    region: str
    index: int
    directory: Path
    host: str
    port: int
    token_file: Path
    identity: Path
    engines: Engines


def parse(arguments: Sequence[str]) -> Options:
    """Return the options, or exit with a usage message."""
    parser = argparse.ArgumentParser(prog="leeward.world.kubernetes.main", description=__doc__)
    parser.add_argument("--region", required=True)
    parser.add_argument("--index", type=int, required=True, help="the region owns 127.10.INDEX.0/24")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--identity", type=Path, required=True, help="holds tls.crt and tls.key")
    parser.add_argument("--engine", action="append", default=[], metavar="NAME=PATH")
    found = parser.parse_args(arguments)
    host, _, port = found.listen.rpartition(":")
    if not host or not port.isdigit():
        parser.error(f"--listen is HOST:PORT, not {found.listen!r}")
    if not 0 <= found.index <= 255:
        parser.error("--index is from 0 to 255")
    engines: dict[str, Path] = {}
    for engine in found.engine:
        name, equals, path = engine.partition("=")
        if not name or not equals or not path:
            parser.error(f"--engine is NAME=PATH, not {engine!r}")
        engines[name] = Path(path).absolute()
    return Options(
        region=found.region,
        index=found.index,
        directory=found.directory.absolute(),
        host=host,
        port=int(port),
        token_file=found.token_file,
        identity=found.identity,
        engines=Engines(engines),
    )


async def serve(options: Options) -> None:
    """Run the region until SIGTERM or SIGINT. Raises ManifestError, and OSError when it cannot listen."""
    stop_requested = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_requested.set)
    token = options.token_file.read_text().strip()
    files = open_server(options.identity)
    registry = Registry(Store())
    manifests = Manifests(options.directory / "manifests", registry)
    manifests.apply()
    node = _node(options, registry)
    node.processes.start()
    runner = PodRunner(node, options.index)
    server = ApiServer(registry, node.directories.logs, token)
    await server.start(options.host, options.port, files.for_each_handshake())
    print("ready", flush=True)
    try:
        await _until(stop_requested, registry, runner, manifests)
    finally:
        await runner.end_all(SHUTDOWN_S)
        await _end_strays()
        await node.prober.close()
        await server.stop()


async def _until(stop_requested: asyncio.Event, registry: Registry, runner: PodRunner, manifests: Manifests) -> None:
    """Run every loop of the region until asked to stop; one that fails ends all."""
    loops = [
        asyncio.create_task(Controllers(registry).run(), name="controllers"),
        asyncio.create_task(runner.run(), name="pod runner"),
        asyncio.create_task(runner.rotate_logs(), name="log rotation"),
        asyncio.create_task(Autoscaler(registry, runner).run(), name="autoscaler"),
        asyncio.create_task(manifests.follow(), name="manifests"),
    ]
    stopping = asyncio.create_task(stop_requested.wait(), name="stop requested")
    try:
        done, _ = await asyncio.wait([stopping, *loops], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in [stopping, *loops]:
            task.cancel()
        await asyncio.gather(stopping, *loops, return_exceptions=True)


def _node(options: Options, registry: Registry) -> Node:
    directories = Directories(options.directory)
    # What the pods of an earlier start left: their processes are gone, and none of it was to last.
    shutil.rmtree(directories.pods, ignore_errors=True)
    for directory in (directories.root, directories.pods, directories.logs):
        directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    nodes = registry.store.list(NODES)
    processes = Processes()
    return Node(
        name=nodes[0]["metadata"]["name"] if nodes else options.region,
        address=options.host,
        store=registry.store,
        recorder=Recorder(registry, "pod-runner"),
        processes=processes,
        prober=Prober(processes),
        directories=directories,
        engines=options.engines,
    )


async def _end_strays() -> None:
    """Kill all processes that still run below this one."""
    for _ in range(100):
        strays = [entry.pid for entry in proctree.below() if not entry.zombie]
        for pid in strays:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not strays:
            return
        await asyncio.sleep(0.01)


def main() -> int:
    """Run; return the exit status."""
    options = parse(sys.argv[1:])
    logs.configure("kubernetes", logs.Form.TEXT, region=options.region)
    try:
        asyncio.run(serve(options))
    except (ManifestError, OSError) as error:
        log.error("cannot serve", because=str(error))
        return EXIT_CANNOT_RUN
    return 0


if __name__ == "__main__":
    sys.exit(main())
