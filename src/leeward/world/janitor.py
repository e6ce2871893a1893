"""The janitor: starts before its world, starts the supervisor, waits for it, and cleans up after it.

Guards both ways: when the launcher dies, the janitor removes what is there; when the supervisor is
killed, whatever it had started becomes the janitor's child, is ended, and the directory removed; when the
janitor is killed, the supervisor sees their pipe close and does the same.

``python -m leeward.world.janitor --directory DIR --lock-fd N --launch-fd N``
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

from leeward.kit import kernel
from leeward.world import processes
from leeward.world.removal import remove


class _EndedError(Exception):
    """Asked to end before the supervisor was started."""


def main(arguments: Sequence[str]) -> int:
    """Run until the world has ended and its directory is removed."""
    parser = argparse.ArgumentParser(prog="leeward.world.janitor")
    parser.add_argument("--directory", required=True)
    for name in ("--lock-fd", "--launch-fd"):
        parser.add_argument(name, type=int, required=True)
    options = parser.parse_args(arguments)
    supervisors: list[subprocess.Popen[bytes]] = []

    def end(_number: int, _frame: FrameType | None) -> None:
        if not supervisors:
            raise _EndedError
        supervisors[0].terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    kernel.adopt_orphans()
    watched, held = os.pipe2(os.O_CLOEXEC)
    status = 1
    try:
        config = _await_config(options.launch_fd)
        if config is not None:
            supervisors.append(_start(config, watched, options.lock_fd, options.launch_fd))
            os.close(watched)
            os.close(options.launch_fd)
            status = supervisors[0].wait()
    except _EndedError:
        pass
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    _end_orphans()
    remove(options.directory)
    os.close(held)
    return status if status >= 0 else 1


def _await_config(launch: int) -> str | None:
    """Return the path of the world's configuration; None when the launcher is gone."""
    handle = socket.socket(fileno=os.dup(launch))
    line = b""
    with handle:
        while not line.endswith(b"\n"):
            data = handle.recv(4096)
            if not data:
                return None
            line += data
    return str(json.loads(line))


def _start(config: str, watched: int, lock: int, launch: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "leeward.world.supervisor", "--config", config]
    command += ["--janitor-fd", str(watched), "--lock-fd", str(lock), "--launch-fd", str(launch)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(watched, lock, launch))


def _end_orphans() -> None:
    """Kill whatever is left below this process, and wait until the kernel has ended it."""
    while True:
        processes.send(processes.tree(os.getpid())[1:], signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
