"""Runs ``leeward`` as a process forked from one that has imported everything: 20 ms each instead of 600.

What a command line is to its user stays: arguments, environment, directory, standard streams, exit status. What the
imports cost, and what they are, is tested elsewhere, with the entry point itself.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

LEEWARD = Path(sys.executable).with_name("leeward")
_START_TIMEOUT_S = 60.0


class CommandLine:
    """The process that forks. Its owner calls ``close``."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None

    def run(
        self, *arguments: str, environment: Mapping[str, str], directory: Path, timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end. Raises subprocess.TimeoutExpired."""
        with tempfile.TemporaryDirectory(prefix="leeward-") as place:
            output, errors = Path(place, "stdout"), Path(place, "stderr")
            asked = {
                "arguments": [str(LEEWARD), *arguments],
                "environment": dict(environment),
                "directory": str(directory),
                "output": str(output),
                "errors": str(errors),
            }
            status = self._ask(json.dumps(asked).encode() + b"\n", arguments, timeout_s)
            return subprocess.CompletedProcess(
                asked["arguments"], status, output.read_text("utf-8"), errors.read_text("utf-8")
            )

    def close(self) -> None:
        """End the process, and whatever it still runs."""
        server, self._server = self._server, None
        if server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.communicate()

    def _ask(self, question: bytes, arguments: tuple[str, ...], timeout_s: float) -> int:
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
            self._answer(self._server, arguments, _START_TIMEOUT_S)
        assert self._server.stdin is not None
        self._server.stdin.write(question)
        self._server.stdin.flush()
        return int(self._answer(self._server, arguments, timeout_s))

    def _answer(self, server: "subprocess.Popen[bytes]", arguments: tuple[str, ...], timeout_s: float) -> bytes:
        assert server.stdout is not None
        if not select.select([server.stdout], [], [], timeout_s)[0]:
            self.close()
            raise subprocess.TimeoutExpired(arguments, timeout_s)
        line = server.stdout.readline()
        assert line, "the process that forks has ended"
        return line


def _serve() -> None:
    import leeward.operate.trees  # noqa: F401  the command with the most imports
    from leeward.cli.main import main

    sys.stdout.write("0\n")
    sys.stdout.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            for descriptor, path, flags in (
                (0, os.devnull, os.O_RDONLY),
                (1, asked["output"], os.O_WRONLY | os.O_CREAT),
                (2, asked["errors"], os.O_WRONLY | os.O_CREAT),
            ):
                os.dup2(os.open(path, flags, 0o600), descriptor)
            os.chdir(asked["directory"])
            os.environ.clear()
            os.environ.update(asked["environment"])
            sys.argv = asked["arguments"]
            sys.exit(main())
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
