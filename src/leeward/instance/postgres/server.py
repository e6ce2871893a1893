"""The PostgreSQL processes: started below ``init``, signalled, awaited, and killed all at once."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import psutil

from leeward.instance.postgres.private import make_private
from leeward.instance.settings import SOURCE, ManagerSettings

_END_S = 10.0
_CHUNK_BYTES = 65536


class CommandError(Exception):
    """One of PostgreSQL's programs failed; the text is its last output."""


class StillRunningError(CommandError):
    """One of PostgreSQL's programs was killed and has not ended."""


def _wrapped(command: Sequence[str], *, isolated: bool, hidden: Sequence[Path] = ()) -> list[str]:
    mode = "namespace" if isolated else "plain"
    program = [sys.executable, "-S", "-m", "leeward.instance.postgres.init"]
    return [*program, str(os.getpid()), mode, str(len(hidden)), *map(str, hidden), *command]


def _environment() -> dict[str, str]:
    # LC_ALL: the wheel's PostgreSQL knows no other locale than the C library's own.
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "PYTHONPATH": str(SOURCE)}


async def run(
    command: Sequence[str],
    *,
    isolated: bool,
    timeout_s: float | None,
    tied: bool = True,
    accept: tuple[int, ...] = (0,),
    errors_too: bool = False,
    output_to: BinaryIO | None = None,
    errors_to: BinaryIO | None = None,
) -> str:
    """Run a program to its end and return its output; cancelled or too slow, it is killed.

    ``timeout_s``: None when the caller bounds it. ``output_to``: an open file for its output, which is not returned
    then. ``errors_too``: its stderr follows its stdout. ``errors_to``: an open file for its stderr, which can be read
    also after it was killed.

    It ends with this process, like the server, unless it is not ``tied``: what only reads a file and ends by
    itself need not pay for that. Raises CommandError, TimeoutError.
    """
    process = await asyncio.create_subprocess_exec(
        *(_wrapped(command, isolated=isolated) if tied else command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if output_to is None else output_to,
        stderr=subprocess.PIPE if errors_to is None else errors_to,
        env=_environment(),
        cwd="/",
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, errors = await process.communicate()
            output = output or b""
            if errors_to is not None:
                errors_to.seek(0)
                errors = errors_to.read()
    except BaseException:
        await _end(process)
        raise
    if process.returncode not in accept:
        last_words = errors.decode(errors="replace").strip().splitlines()[-3:]
        raise CommandError(f"{Path(command[0]).name}: {'; '.join(last_words) or process.returncode}")
    return (output + errors if errors_too else output).decode(errors="replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill a program and wait until nothing of it runs. Raises StillRunningError after 10 s.

    The one in a pid namespace of its own ends after the process that we wait for; its output is open until then.
    """
    if process.returncode is None:
        process.kill()
        await process.wait()
    try:
        async with asyncio.timeout(_END_S):
            while process.stdout is not None and await process.stdout.read(_CHUNK_BYTES):
                pass
    except TimeoutError as error:
        raise StillRunningError("a program of PostgreSQL does not end") from error


class Server:
    """At most one running PostgreSQL. Started from the main thread: the parent-death signal follows it."""

    def __init__(
        self, settings: ManagerSettings, *, isolated: bool, hidden: Sequence[Path], exited: Callable[[], None]
    ) -> None:
        """``hidden``: what PostgreSQL must not see, which takes ``isolated``.

        ``exited`` is called in the event loop after PostgreSQL ended, for whatever reason.
        """
        self._settings = settings
        self._isolated = isolated
        self._hidden = hidden
        self._exited = exited
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._stopping = False
        self._ended = asyncio.Event()
        self._ended.set()

    @property
    def running(self) -> bool:
        """Whether the processes exist, ready or not."""
        return self._process is not None

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop and has not ended yet: that cannot be undone."""
        return self.running and self._stopping

    def start(self, data: Path) -> None:
        """Start on this data directory with the configuration as it is now. Must not be running."""
        if self._process is not None:
            raise RuntimeError("PostgreSQL is running already")
        layout = self._settings.layout
        make_private(layout.socket)
        command = [
            str(self._settings.binaries / "postgres"),
            "-D",
            str(data),
            "-c",
            f"config_file={layout.configuration / 'postgresql.conf'}",
        ]
        self._process = subprocess.Popen(
            _wrapped(command, isolated=self._isolated, hidden=self._hidden),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            env=_environment(),
            cwd="/",
            start_new_session=True,
        )
        self._stopping = False
        self._pidfd = os.pidfd_open(self._process.pid)
        self._ended.clear()
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        process = self._process
        if process is None or process.poll() is None:
            return
        asyncio.get_running_loop().remove_reader(self._pidfd)
        pidfd, self._pidfd, self._process = self._pidfd, -1, None
        os.close(pidfd)
        self._ended.set()
        self._exited()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the postmaster: SIGHUP reloads, SIGINT stops fast."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End every process at once, busy backends included. Safe from another thread, and to repeat."""
        process = self._process
        if process is None:
            return
        victims = [] if self._isolated else _descendants(process.pid)
        # Popen.send_signal checks under its lock that the pid was not reaped yet.
        process.send_signal(signal.SIGKILL)
        for victim in victims:
            try:
                victim.kill()
            except psutil.NoSuchProcess:
                continue

    def end_receivers(self) -> None:
        """End the WAL receivers. PostgreSQL itself offers no way: they are none of its backends."""
        for process in [] if self._process is None else _descendants(self._process.pid):
            try:
                if process.name() == "postgres" and "walreceiver" in " ".join(process.cmdline()):
                    process.terminate()
            except psutil.NoSuchProcess:
                continue

    def end_others(self, ours: frozenset[int]) -> int:
        """Terminate every child of the postmaster that is not in ``ours``; the ids are PostgreSQL's own.

        Returns how many there were. SIGTERM only: a backend that is killed takes all of PostgreSQL with it.
        """
        others = [process for process in self._children() if _inner_pid(process.pid) not in ours]
        for process in others:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        return len(others)

    def _children(self) -> list[psutil.Process]:
        below = [] if self._process is None else _descendants(self._process.pid)
        postmaster = next((process for process in below if _is_postgres(process)), None)
        if postmaster is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return postmaster.children()
        return []

    async def wait(self) -> None:
        """Return when nothing runs."""
        await self._ended.wait()

    async def stop(self, *, timeout_s: float) -> None:
        """Stop fast: sessions end, standbys get everything. After ``timeout_s`` it is killed instead."""
        self._stopping = True
        self.signal(signal.SIGINT)
        try:
            async with asyncio.timeout(timeout_s):
                await self.wait()
        except TimeoutError:
            await self.end()

    async def end(self) -> None:
        """Kill everything and return when it is gone."""
        self.kill()
        await self.wait()


def _is_postgres(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.name() == "postgres")
    return False


def _inner_pid(pid: int) -> int:
    """Return the id of a process in its own pid namespace; its id here when it is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return pid


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
