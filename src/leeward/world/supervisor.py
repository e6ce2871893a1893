"""The supervisor: owns everything of one world, and injects the faults.

Always true: whatever it started is gone when it is, however it ends. When the janitor disappears it ends
the world and removes its directory itself.

``python -m leeward.world.supervisor --config FILE --janitor-fd N --lock-fd N --launch-fd N``
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
import uvloop

from leeward.base.problem import Problem, ProblemsError
from leeward.core.codec import decode, encode, plain
from leeward.kit import logs
from leeward.world import namespaces, shelter, users
from leeward.world.model import RegionInfo, WorldConfig, WorldInfo
from leeward.world.namespaces import Isolation, IsolationProbe
from leeward.world.places import CONTROL
from leeward.world.problems import from_os_error, refusal
from leeward.world.removal import remove
from leeward.world.shelter import Shelter
from leeward.world.wan_control import WanControl, fork_wan

log = structlog.get_logger()


class Launch:
    """Reports progress to the world's launcher until the world is ready; one JSON document per line.

    The world ends when the launcher closes its end, unless it asked to keep the world before.
    """

    def __init__(self, handle: socket.socket) -> None:
        self._handle: socket.socket | None = handle
        handle.settimeout(1.0)

    def fileno(self) -> int:
        """Return the descriptor to watch: readable when the launcher is gone; -1 after the last report."""
        return -1 if self._handle is None else self._handle.fileno()

    def progress(self, text: str) -> None:
        """Report what has been done."""
        log.info("%s", text)
        self._send({"progress": text})

    def report(self, outcome: Mapping[str, object]) -> None:
        """Report the outcome; this is the last message."""
        self._send(outcome)

    def is_kept(self) -> bool:
        """Read from the launcher: whether it asks to keep the world; a launcher that is gone does not."""
        try:
            return self._handle is not None and bool(self._handle.recv(64))
        except OSError:  # a reset: it is gone
            return False

    def close(self) -> None:
        """Close the connection to the launcher."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def _send(self, document: Mapping[str, object]) -> None:
        if self._handle is not None:
            # A launcher that went away is noticed by the watcher of the descriptor.
            with contextlib.suppress(OSError):
                self._handle.sendall(json.dumps(document).encode() + b"\n")


class Supervisor:
    """One world from start to end."""

    def __init__(
        self,
        config: WorldConfig,
        probe: IsolationProbe,
        networks: Mapping[str, int],
        shelters: Mapping[str, Shelter],
        wan: WanControl | None,
        launch: Launch,
    ) -> None:
        # aiohttp and cryptography come in here: the WAN was forked before they were loaded.
        from leeward.world.control import ControlApi
        from leeward.world.front_doors import FrontDoors
        from leeward.world.region import RegionProcesses
        from leeward.world.renewal import Renewal

        self._config = config
        self._probe = probe
        self._wan = wan
        self._launch = launch
        self._down = asyncio.Event()
        self._started_at_unix_s = time.time()
        self._orphaned = False
        self._front_doors: dict[str, FrontDoors] = {}
        self._make_front_doors = FrontDoors
        self._networks = networks
        self._regions = {
            region.name: RegionProcesses(
                config,
                region,
                isolation=probe.isolation,
                network=networks.get(region.name),
                shelter=shelters.get(region.name),
                on_change=self._write_info,
            )
            for region in config.regions
        }
        self._renewal = Renewal(config)
        self._control = ControlApi(config, self._regions, wan, self._info, self._down.set)

    async def run(self, janitor: int) -> bool:
        """Run the world until it is ended. Returns whether the janitor is gone."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._down.set)
        loop.add_reader(janitor, self._janitor_gone, janitor)
        loop.add_reader(self._launch.fileno(), self._launcher_spoke)
        watching = loop.create_task(self._until_down())
        renewing = loop.create_task(self._renewal.run())
        try:
            starting = loop.create_task(self._start())
            await asyncio.wait([starting, watching], return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                starting.cancel()
            try:
                await starting
            except asyncio.CancelledError:
                log.info("shut down while starting")
            except ProblemsError as error:
                self._fail(error)
            except OSError as error:
                self._fail(from_os_error(error, self._config.directory))
            else:
                await watching
        finally:
            watching.cancel()
            renewing.cancel()
            await self._end()
        return self._orphaned

    async def _start(self) -> None:
        if self._wan is not None:
            await self._wan.open()
        for region in self._config.regions:
            front_doors = self._make_front_doors(
                region, self._networks.get(region.name), self._config.front_door_base_port
            )
            self._front_doors[region.name] = front_doors
            await front_doors.open()
        await self._control.open(str(Path(self._config.directory) / CONTROL))
        for process in self._regions.values():
            process.start()
        problems: list[Problem] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                for name in self._regions:
                    tasks.create_task(self._await_region(name))
        except* ProblemsError as group:
            for error in group.exceptions:
                problems += error.problems if isinstance(error, ProblemsError) else ()
        if problems:
            raise ProblemsError(problems)
        self._launch.report({"ready": True})

    async def _await_region(self, name: str) -> None:
        started_s = time.monotonic()
        await self._regions[name].wait_ready(self._config.ready_timeout_s)
        self._launch.progress(f"region {name} ready after {time.monotonic() - started_s:.1f} s")

    async def _until_down(self) -> None:
        if self._wan is None:
            await self._down.wait()
            return
        waits = [asyncio.ensure_future(event.wait()) for event in (self._down, self._wan.ended)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self._wan.ended.is_set():
            log.error("WAN process exited; shutting down (regions would no longer be isolated)")

    def _janitor_gone(self, janitor: int) -> None:
        asyncio.get_running_loop().remove_reader(janitor)
        self._orphaned = True
        self._down.set()

    def _launcher_spoke(self) -> None:
        asyncio.get_running_loop().remove_reader(self._launch.fileno())
        if self._launch.is_kept():
            log.info("the launcher asked to keep the world; continuing without it")
        else:
            log.info("launcher exited without keeping the world; shutting down")
            self._down.set()
        self._launch.close()

    def _fail(self, error: ProblemsError) -> None:
        log.error("%s", error)
        self._launch.report({"problems": plain(error.problems)})

    async def _end(self) -> None:
        log.info("shutting down")
        await asyncio.gather(*(region.end() for region in self._regions.values()))
        for front_doors in self._front_doors.values():
            await front_doors.close()
        if self._wan is not None:
            await self._wan.end()
        await self._control.close()

    def _info(self) -> WorldInfo:
        config = self._config
        return WorldInfo(
            name=config.name,
            fleet=config.fleet,
            directory=config.directory,
            isolation=self._probe.isolation,
            not_emulated=self._probe.not_emulated,
            janitor_pid=os.getppid(),
            supervisor_pid=os.getpid(),
            wan_pid=None if self._wan is None else self._wan.pid,
            started_at_unix_s=self._started_at_unix_s,
            files=config.files,
            regions=tuple(self._region_info(name) for name in self._front_doors),
        )

    def _region_info(self, name: str) -> RegionInfo:
        region, front_doors = self._regions[name], self._front_doors[name]
        return RegionInfo(
            name=name,
            index=region.config.index,
            state=region.state,
            because=region.because,
            pid=region.pid,
            directory=str(region.directory),
            gateway_url=front_doors.gateway_url,
            agent_url=front_doors.agent_url,
            api_url=front_doors.api_url,
            dns_host=front_doors.dns_host,
            dns_port=front_doors.dns_port,
            services_url=front_doors.services_url,
            namespaces=region.config.namespaces,
        )

    def _write_info(self) -> None:
        path = Path(self._config.directory) / "world.json"
        fresh = path.with_suffix(".new")
        try:
            fresh.write_text(encode(self._info()))
            fresh.replace(path)
        except OSError as error:  # a full disk must not take the world down; the API still reports it
            log.error("cannot write %s: %s", path, error)


def _enter(config: WorldConfig) -> tuple[IsolationProbe, dict[str, int], dict[str, Shelter]]:
    """Return what this machine allows, each region's network, and in a world of root each region's shelter."""
    probe = namespaces.probe_isolation()
    if probe.isolation is Isolation.SHARED:
        log.warning("%s; not emulated: %s", probe.because, ", ".join(probe.not_emulated))
        return probe, {}, {}
    outside = users.outside_ids(config.directory, len(config.regions))
    namespaced = probe.isolation is Isolation.USER_NAMESPACE
    shelters = {} if outside is None else shelter.of_world(config, outside if namespaced else None)
    if namespaced:
        users.enter_user_namespace(outside)
    return probe, {region.name: namespaces.new_network() for region in config.regions}, shelters


def _run(config: WorldConfig, launch: Launch, janitor: int, lock: int) -> bool:
    try:
        probe, networks, shelters = _enter(config)
        wan = None
        if probe.isolation is not Isolation.SHARED:
            wan = fork_wan(config, networks, close=(janitor, lock, launch.fileno()))
    except OSError as error:
        launch.report({"problems": plain(_refused(error).problems)})
        return False
    launch.progress(f"isolation: {probe.isolation}" + (" (NOT emulated)" if probe.not_emulated else ""))

    async def supervise() -> bool:
        control = None if wan is None else WanControl(*wan)
        return await Supervisor(config, probe, networks, shelters, control, launch).run(janitor)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(supervise())


def _refused(error: OSError) -> ProblemsError:
    return refusal(
        "isolation-refused",
        "kernel",
        "the kernel refused the namespaces of the world",
        str(error),
        "run `leeward doctor`; end other worlds (`leeward down`) if limits are reached",
    )


def main(arguments: Sequence[str]) -> int:
    """Supervise one world until its end."""
    parser = argparse.ArgumentParser(prog="leeward.world.supervisor")
    parser.add_argument("--config", required=True)
    for name in ("--janitor-fd", "--lock-fd", "--launch-fd"):
        parser.add_argument(name, type=int, required=True)
    options = parser.parse_args(arguments)
    for descriptor in (options.janitor_fd, options.lock_fd, options.launch_fd):
        os.set_inheritable(descriptor, False)
    os.umask(0o077)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    logs.configure("supervisor", logs.Form.TEXT)
    config = decode(WorldConfig, Path(options.config).read_text())
    launch = Launch(socket.socket(fileno=options.launch_fd))
    if _run(config, launch, options.janitor_fd, options.lock_fd):
        remove(config.directory)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
