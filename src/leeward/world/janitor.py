"""The janitor: starts the supervisor, waits for it, and leaves nothing of its world behind.

Guards both ways: when the supervisor is killed, whatever it had started becomes the janitor's child, is
ended, and the directory removed; when the janitor is killed, the supervisor sees their pipe close and does
the same.

``python -m leeward.world.janitor --config FILE --directory DIR --lock-fd N --launch-fd N``
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

from leeward.world import namespaces, processes
from leeward.world.removal import remove


def main(arguments: Sequence[str]) -> int:
    """Live as long as the world, and a moment longer."""
    parser = argparse.ArgumentParser(prog="leeward.world.janitor")
    parser.add_argument("--config", required=True)
    parser.add_argument("--directory", required=True)
    for name in ("--lock-fd", "--launch-fd"):
        parser.add_argument(name, type=int, required=True)
    options = parser.parse_args(arguments)
    namespaces.adopt_orphans()
    watched, held = os.pipe2(os.O_CLOEXEC)
    command = [sys.executable, "-m", "leeward.world.supervisor", "--config", options.config]
    command += ["--janitor-fd", str(watched)]
    command += ["--lock-fd", str(options.lock_fd), "--launch-fd", str(options.launch_fd)]
    descriptors = (watched, options.lock_fd, options.launch_fd)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=descriptors) as supervisor:
        os.close(watched)
        os.close(options.launch_fd)

        def end(_number: int, _frame: FrameType | None) -> None:
            supervisor.terminate()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        status = supervisor.wait()
    _end_orphans()
    remove(options.directory)
    os.close(held)
    return status if status >= 0 else 1


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
