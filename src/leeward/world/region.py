"""One region's processes: started, watched, killed, frozen, thawed, and started again on the same disks."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import IO

import structlog

from leeward.world import freezing, processes, spawn
from leeward.world.clocks import now
from leeward.world.model import API_ENDPOINT, Applied, RegionConfig, RegionState, WorldConfig, address
from leeward.world.namespaces import Isolation
from leeward.world.problems import refusal
from leeward.world.shelter import Shelter, lend

READY = b"ready"
END_TIMEOUT_S = 10.0
OUTPUT_TIMEOUT_S = 1.0
LOG_TAIL_LINES = 8
PASSED_ON = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV"})
PASSED_ON_PREFIXES = ("PYTHON", "LEEWARD_")
"""Environment variables passed to a region. Its pods can read them; others may hold the operator's secrets."""

log = structlog.get_logger()


class RegionProcesses:
    """Owns a region's pid 1. Every process below it ends with it."""

    def __init__(
        self,
        world: WorldConfig,
        config: RegionConfig,
        *,
        isolation: Isolation,
        network: int | None,
        shelter: Shelter | None,
        on_change: Callable[[], None],
    ) -> None:
        self.config = config
        self.network = network
        self.state = RegionState.LOST
        self.because = "not started yet"
        self.pid: int | None = None
        self.directory = world.region_directory(config.name)
        self._world = world
        self._isolation = isolation
        self._shelter = shelter
        self._on_change = on_change
        self._ended = asyncio.Event()
        self._ready = asyncio.Event()
        self._output: asyncio.Task[None] | None = None
        self._killed = False

    @property
    def log_path(self) -> str:
        """Where the output of the region's program goes."""
        return str(self.directory / "region.log")

    def start(self) -> Applied:
        """Start its program. Raises ProblemsError while it runs, OSError when the kernel refuses."""
        if self.pid is not None:
            raise self._refuse("it is already running", "kill it first")
        if self._shelter is not None:
            lend(self.directory, self._shelter.uid, self._shelter.gid)
        applied = now()
        read, write = os.pipe2(os.O_CLOEXEC)
        output = open(self.log_path, "ab", buffering=0)  # noqa: SIM115 - _follow closes it
        try:
            pid = spawn.start(
                self._command(),
                isolation=self._isolation,
                network=self.network,
                shelter=self._shelter,
                directory=str(self.directory),
                environment=_environment(),
                stdout=write,
                stderr=output.fileno(),
            )
        except OSError:
            os.close(read)
            output.close()
            raise
        finally:
            os.close(write)
        self.pid = pid
        self._killed = False
        self._ended = asyncio.Event()
        self._ready = asyncio.Event()
        loop = asyncio.get_running_loop()
        pidfd = os.pidfd_open(pid)
        loop.add_reader(pidfd, self._reap, pid, pidfd)
        self._output = loop.create_task(self._follow(read, output, self._ready))
        self._become(RegionState.STARTING, "its processes are starting")
        return replace(applied, pids=(pid,))

    async def wait_ready(self, timeout_s: float) -> None:
        """Return when its program reported ready. Raises ProblemsError when it ends or takes longer."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._ready, self._ended)]
        try:
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self._ready.is_set() and not self._ended.is_set():
            return
        what = self.because if self._ended.is_set() else f"it is not ready after {timeout_s:g} s"
        raise refusal(
            "region-failed",
            f"region {self.config.name}",
            f"region {self.config.name} did not start: {what}",
            f"its last output: {self._last_output()}",
            "fix the errors listed above; `leeward doctor` checks this machine",
        )

    async def kill(self) -> Applied:
        """SIGKILL everything at once; return when the kernel has ended the last process."""
        pid = self._running("killed")
        pids = await freezing.freeze(pid) if self._isolation is Isolation.SHARED else [pid]
        self._killed = True
        applied = now(tuple(pids))
        processes.send(pids, signal.SIGKILL)
        async with asyncio.timeout(END_TIMEOUT_S):
            await self._ended.wait()
        return applied

    async def freeze(self) -> Applied:
        """SIGSTOP everything; return when nothing runs any more."""
        pid = self._running("frozen")
        applied = now()
        pids = await freezing.freeze(pid)
        if self.pid == pid:
            self._become(RegionState.FROZEN, "frozen by request")
        return replace(applied, pids=tuple(pids))

    def thaw(self) -> Applied:
        """SIGCONT everything."""
        pids = processes.tree(self._running("thawed"))
        applied = now(tuple(pids))
        processes.send(pids, signal.SIGCONT)
        self._become(RegionState.RUNNING if self._ready.is_set() else RegionState.STARTING, "thawed by request")
        return applied

    def signal(self, match: str, number: signal.Signals) -> Applied:
        """Signal the processes that ``processes.MATCHES`` selects. Raises ProblemsError when none is running."""
        pids = processes.matching(self._running("signalled"), match)
        if not pids:
            raise self._refuse(f"no {match} process is running", "list the running pods: leeward get pods")
        applied = now()
        reached = processes.send(pids, number)
        return replace(applied, pids=tuple(reached))

    async def end(self) -> None:
        """Kill what runs and release all resources."""
        if self.pid is not None:
            await self.kill()
        if self._output is not None:
            await asyncio.wait({self._output}, timeout=OUTPUT_TIMEOUT_S)
            self._output.cancel()

    def _command(self) -> list[str]:
        identity = self.directory / "identity"
        last, port = API_ENDPOINT
        values = {
            "python": sys.executable,
            "region": self.config.name,
            "index": str(self.config.index),
            "directory": str(self.directory),
            "manifests": self.config.manifests,
            "api": f"{address(self.config.index, last)}:{port}",
            "token_file": str(identity / "token"),
            "identity": str(identity),
        }
        return [part.format_map(values) for part in self._world.region_command]

    def _running(self, what: str) -> int:
        if self.pid is None:
            raise self._refuse(f"it is lost ({self.because}) and cannot be {what}", "start it first")
        return self.pid

    def _refuse(self, why: str, fix: str) -> Exception:
        name = self.config.name
        return refusal("region-state", f"region {name}", f"region {name} cannot do that now", why, fix)

    def _become(self, state: RegionState, because: str) -> None:
        self.state, self.because = state, because
        log.info("region %s is %s: %s", self.config.name, state, because)
        self._on_change()

    def _reap(self, pid: int, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self.pid = None
        ending = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        self._become(RegionState.LOST, "killed by request" if self._killed else f"its program exited with {ending}")
        self._ended.set()

    async def _follow(self, read: int, output: IO[bytes], ready: asyncio.Event) -> None:
        """Log what the program prints; its line ``ready`` marks it ready."""
        reader = asyncio.StreamReader()
        unfinished = b""
        with output:
            transport, _protocol = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read, "rb", buffering=0)
            )
            while chunk := await reader.read(65536):
                try:
                    output.write(chunk)
                except OSError as error:  # a full disk; the program must not stall because of its log
                    log.error("region %s: output lost: %s", self.config.name, error)
                if not ready.is_set():
                    *lines, unfinished = (unfinished + chunk).split(b"\n")
                    if READY in lines:
                        self._set_ready(ready)
            transport.close()

    def _set_ready(self, ready: asyncio.Event) -> None:
        ready.set()
        if self.state is RegionState.STARTING:
            self._become(RegionState.RUNNING, "its program reported ready")

    def _last_output(self) -> str:
        with open(self.log_path, errors="replace") as file:
            lines = [line.strip() for line in file if line.strip()]
        return " / ".join(lines[-LOG_TAIL_LINES:]) or "none"


def _environment() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
