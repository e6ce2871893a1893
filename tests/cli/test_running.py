"""Ctrl-C: the first one cleans up, the second one does not."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

PROGRAM = textwrap.dedent(
    """
    import asyncio, sys
    from leeward.cli.console import Console
    from leeward.cli.running import run
    from leeward.operate.outcome import InterruptedByUserError

    async def work(clean_up_s):
        try:
            print("working", flush=True)
            await asyncio.sleep(60)
        finally:
            print("cleaning", flush=True)
            await asyncio.sleep(clean_up_s)
            print("clean", flush=True)

    try:
        run(work(float(sys.argv[1])), Console(), leftover="leeward down --world it")
    except InterruptedByUserError:
        print("interrupted", flush=True)
    """
)


@contextmanager
def program(clean_up_s: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PROGRAM, str(clean_up_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        yield process


def test_the_first_one_cleans_up() -> None:
    with program(clean_up_s=0) as process:
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=100)
    assert output == "cleaning\nclean\ninterrupted\n"
    assert errors == "stopping; Ctrl-C again skips the clean-up\n"


def test_the_second_one_skips_the_clean_up_and_prints_how_to_do_it() -> None:
    with program(clean_up_s=60) as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "cleaning\n"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=100)
    assert (process.returncode, output) == (130, "")
    assert errors.splitlines()[-1] == "clean-up skipped; to clean up: leeward down --world it"
