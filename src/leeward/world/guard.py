"""Start a world's janitor and pass it the world's configuration.

The janitor is there before anything is written into the world's directory: should the launcher be
killed, it removes the directory. Apart from the rest, because ``places`` needs it.
"""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from pathlib import Path

LOG = "supervisor.log"
GONE_TIMEOUT_S = 20.0
KEEP = b"keep\n"

_janitors: dict[Path, subprocess.Popen[bytes]] = {}
"""Those this process started: they outlive it, or it waits for them."""


class Guard:
    """One world's janitor, and the socket that ties the world to this process.

    While the socket is open the world lives; when it closes without ``keep``, the world ends and its directory
    goes. The kernel closes it for a process that is killed.
    """

    def __init__(self, directory: Path, lock: int) -> None:
        """Start the janitor; it shares the lock. Raises OSError."""
        self._directory = directory
        self._words = open(directory / LOG, "a+b")  # noqa: SIM115 - it outlives its directory
        self.socket, its = socket.socketpair()
        try:
            with its:
                self._janitor = subprocess.Popen(
                    _command(directory, lock, its.fileno()),
                    stdin=subprocess.DEVNULL,
                    stdout=self._words,
                    stderr=self._words,
                    cwd="/",
                    start_new_session=True,
                    pass_fds=(lock, its.fileno()),
                )
        except OSError:
            self.close()
            raise
        if previous := _janitors.get(directory):
            previous.wait(GONE_TIMEOUT_S)  # the claim was free, so it is dead: only to be reaped
        _janitors[directory] = self._janitor

    def begin(self, config: Path) -> None:
        """Let it start the supervisor. If the janitor has died, ``socket`` is closed."""
        with contextlib.suppress(OSError):
            self.socket.sendall(json.dumps(str(config)).encode() + b"\n")
        self.socket.setblocking(False)

    def keep(self) -> None:
        """Let the world keep running without this process."""
        with contextlib.suppress(OSError):  # it has died meanwhile: the next request fails
            self.socket.sendall(KEEP)
        self.close()

    def close(self) -> None:
        """Close the socket: without ``keep`` the world ends."""
        self.socket.close()
        self._words.close()

    def abandon(self) -> None:
        """End what has not begun; return when the directory is gone."""
        self.close()
        self._janitor.wait(GONE_TIMEOUT_S)
        _janitors.pop(self._directory, None)

    def kill(self) -> None:
        """End a janitor that does not end by itself; the supervisor notices."""
        self._janitor.kill()

    def last_output(self, lines: int) -> str:
        """Return the last lines that the supervisor logged."""
        self._words.seek(0)
        lines_read = [line.strip() for line in self._words.read().decode(errors="replace").splitlines() if line.strip()]
        return " / ".join(lines_read[-lines:]) or "none"


async def reap(directory: Path) -> None:
    """Wait for a janitor of ours that is ending: removing the directory is the last thing it does."""
    if janitor := _janitors.pop(directory, None):
        await asyncio.to_thread(janitor.wait, GONE_TIMEOUT_S)


def _command(directory: Path, lock: int, launch: int) -> list[str]:
    command = [sys.executable, "-m", "leeward.world.janitor", "--directory", str(directory)]
    return [*command, "--lock-fd", str(lock), "--launch-fd", str(launch)]
