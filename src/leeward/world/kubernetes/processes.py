"""Child processes: started to die with us, reaped whatever their parent was, found again with all they started.

Where the kernel knows Landlock's scopes (Linux 6.12), what a container starts can neither signal nor trace what another
one started, although all are one user.

We are pid 1 of the region's pid namespace, or else a subreaper: every orphan becomes our child. No other code of
this process may wait for children (no asyncio.subprocess).
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from leeward.kit import kernel, landlock
from leeward.world.kubernetes import proctree

CONTAINER_VARIABLE = "LEEWARD_CONTAINER"
"""In the environment of everything a container starts: the container's identity."""
_SWEEP_S = 0.01
_SWEEPS_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run. The output goes to a file descriptor; there is no input."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    identity: str
    """Value of CONTAINER_VARIABLE."""
    translate: Callable[[str], str]
    """What a text of the container's specification means here: for commands that probes run beside it."""


class Child:
    """One process we started, and what became of it."""

    def __init__(self, popen: subprocess.Popen[bytes], identity: str) -> None:
        self._popen = popen
        self.pid = popen.pid
        self.identity = identity
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def running(self) -> bool:
        """Whether it was not reaped yet."""
        return not self._ended.done()

    async def wait(self) -> int:
        """Return the exit code once it ended; for a signal, 128 plus its number, as in Kubernetes."""
        return await asyncio.shield(self._ended)

    def send(self, number: signal.Signals) -> None:
        """Signal it; no effect when it ended. Its pid stays its own until we reap it."""
        if self.running:
            os.kill(self.pid, number)

    def end(self, wait_status: int) -> None:
        """Take the status that the reaper got."""
        code = os.waitstatus_to_exitcode(wait_status)
        # Popen would wait for the pid itself otherwise, when it is forgotten.
        self._popen.returncode = code
        self._ended.set_result(code if code >= 0 else 128 - code)


class Processes:
    """All children of this process."""

    def __init__(self) -> None:
        self._children: dict[int, Child] = {}
        self._apart = landlock.can_keep_to_itself()

    def start(self) -> None:
        """Become the parent of orphans and begin to reap."""
        if os.getpid() != 1:
            kernel.adopt_orphans()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def spawn(self, program: Program, output: int) -> Child:
        """Start a program in a session of its own. Raises OSError when it cannot be started."""
        parent = os.getpid()

        def bind_to_parent() -> None:
            # The signal fires when the thread that forked ends: always the loop's, the main thread.
            kernel.die_with_parent()
            if os.getppid() != parent:
                os._exit(1)
            if self._apart:
                landlock.keep_to_itself()

        popen = subprocess.Popen(
            list(program.arguments),
            env={**program.environment, CONTAINER_VARIABLE: program.identity},
            cwd=program.directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=bind_to_parent,  # One thread only: no lock can be held across the fork.
        )
        child = self._children[popen.pid] = Child(popen, program.identity)
        return child

    async def sweep(self, child: Child) -> None:
        """Kill the child and everything it started, however it detached itself, and wait until all is reaped."""
        for _ in range(_SWEEPS_MAX):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            rest = proctree.processes_of(child.pid, CONTAINER_VARIABLE, child.identity)
            for pid in rest:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not rest and not child.running:
                return
            await asyncio.sleep(_SWEEP_S)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is not None:
                child.end(status)
