"""Run a command beside the soak: ``python -m tests.soak.beside COMMAND...``.

The soak waits for most of its time, so what needs no engine of its own runs meanwhile. Exit status: the command's
when it fails, which ends the soak at once; else the soak's, whose log is printed in the end. However this process
ends, the soak ends too, and with it its world.
"""

import ctypes
import signal
import subprocess
import sys
import tempfile
from typing import IO

PR_SET_PDEATHSIG = 1
STOP_TIMEOUT_S = 60.0
SOAK = (sys.executable, "-m", "pytest", "-s", "-m", "soak and not endurance", "tests/soak")


def main(command: list[str], soak: tuple[str, ...] = SOAK) -> int:
    """Run both; return the exit status."""
    with tempfile.TemporaryFile("w+") as log:
        process = _start(soak, log)
        try:
            status = subprocess.run(command, check=False).returncode
            if status:
                return status
            status = process.wait()
        finally:
            _stop(process)
            log.seek(0)
            sys.stdout.write(f"\nsoak:\n{log.read()}")
            sys.stdout.flush()
    return status


def _start(soak: tuple[str, ...], log: IO[str]) -> subprocess.Popen[bytes]:
    libc = ctypes.CDLL(None)

    def end_with_parent() -> None:
        # An interrupt, which pytest cleans up after; also when this process is killed.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT)

    return subprocess.Popen(soak, stdout=log, stderr=subprocess.STDOUT, preexec_fn=end_with_parent)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()  # its world is tethered to it
            process.wait()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
