"""The soak beside a command: whose exit status counts, and that it never outlives what started it."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.waiting import block_until
from tests.soak.beside import main

ROOT = Path(__file__).parents[2]
PYTHON = sys.executable
PATIENCE_S = 60.0
# It notes its number, then that it was interrupted, as pytest does with its fixtures.
SOAK = """
import os, pathlib, sys, time
path = pathlib.Path(sys.argv[1])
try:
    # Whoever waits for the note may interrupt at once.
    path.with_suffix(".new").write_text(str(os.getpid()))
    path.with_suffix(".new").rename(path)
    time.sleep(600)
except KeyboardInterrupt:
    path.with_suffix(".interrupted").touch()
"""


def exits(status: int, *, says: str = "") -> tuple[str, ...]:
    return PYTHON, "-c", f"import sys; print({says!r}); sys.exit({status})"


@pytest.mark.parametrize(("command", "soak", "expected"), [(0, 0, 0), (0, 1, 1), (3, 0, 3)])
def test_either_failure_counts(command: int, soak: int, expected: int) -> None:
    assert main(list(exits(command)), exits(soak)) == expected


def test_the_log_of_the_soak_is_printed_in_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    main(list(exits(0, says="the command")), exits(1, says="the soak"))
    output = capfd.readouterr().out
    assert output.index("the command") < output.index("the soak")


def test_a_command_that_fails_ends_the_soak_at_once(tmp_path: Path) -> None:
    started = tmp_path / "started"
    wait = "import pathlib, sys, time\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)\nsys.exit(7)"
    assert main([PYTHON, "-c", wait, str(started)], (PYTHON, "-c", SOAK, str(started))) == 7
    assert (tmp_path / "started.interrupted").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_the_soak_ends_with_what_started_it(tmp_path: Path, number: signal.Signals) -> None:
    started = tmp_path / "started"
    program = f"from tests.soak.beside import main; main(['sleep', '600'], {(PYTHON, '-c', SOAK, str(started))!r})"
    parent = subprocess.Popen([PYTHON, "-c", program], cwd=ROOT, start_new_session=True)
    try:
        block_until(started.exists, within_s=PATIENCE_S, every_s=0.01)
        parent.send_signal(number)
        parent.wait(PATIENCE_S)
        block_until((tmp_path / "started.interrupted").exists, within_s=PATIENCE_S, every_s=0.01)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
