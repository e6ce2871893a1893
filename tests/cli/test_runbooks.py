"""The rendered runbooks, followed to the letter in a real world of three regions."""

import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from leeward.compile.tree.tree import tree
from leeward.spec import load
from leeward.world.objects import engine_commands
from tests.cli.worlds import DEMO_S, PAYMENTS, START_S, TRIES, Leeward, primary, until
from tests.kit.waiting import block_until

pytestmark = [pytest.mark.world, pytest.mark.timeout(1800)]

PAGES = {
    Path(name).stem: re.findall(r"```sh\n\s*(.*?)\n\s*```", text)
    for name, text in tree(load(PAYMENTS), engines=engine_commands()).items()
    if "/runbooks/" in name
}
REJOIN_S = 240.0


@pytest.fixture(scope="module")
def world() -> Iterator[Leeward]:
    home = Path(tempfile.mkdtemp(prefix="lw-"))
    leeward = Leeward(home)
    result = leeward("up", str(PAYMENTS), "--timeout", START_S)
    assert result.returncode == 0, result.stderr
    try:
        yield leeward
    finally:
        leeward("down")
        shutil.rmtree(home, ignore_errors=True)


def follow(world: Leeward, command: str) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(command)
    assert program == "leeward"
    return world(*arguments, timeout_s=DEMO_S)


def looked(world: Leeward, command: str) -> None:
    """Follow a command that shows something: on a busy machine all agents may be late for one look."""
    until(lambda: follow(world, command).returncode == 0, lambda: f"{command}\n{follow(world, command).stderr}")


def moved(world: Leeward, command: str, *, to: str) -> None:
    """Follow a command until the primary is there.

    What is refused, as while the old primary rejoins, and what has an unknown outcome is asked again, as its fix says.
    The effect is certain: an agent that is behind may only report it a moment later.
    """
    result = follow(world, command)

    def led_by() -> str:
        nonlocal result
        found = primary(world)
        if found != to and result.returncode != 0:
            result = follow(world, command)
        return found

    block_until(
        led_by,
        lambda: f"{command}: {result}\n{world('status').stdout}",
        accept=lambda found: found == to,
        within_s=REJOIN_S,
        every_s=1.0,
    )


def drilled(world: Leeward, command: str) -> None:
    """Follow a drill until it says something: on an overloaded machine it may not."""
    for _ in range(TRIES):
        # One run shows as much about the command as three.
        result = follow(world, command.replace("--runs 3", "--runs 1"))
        if result.returncode in (0, 1):
            return
        assert result.returncode == 4 or "error[drill-not-begun]" in result.stderr, f"{command}\n{result.stderr}"
    pytest.fail(f"{command}\n{result.stderr}\n{result.stdout}")


def test_every_step_does_what_its_page_describes(world: Leeward) -> None:
    for command in [*PAGES["automated-failover"], *PAGES["alerts"]]:
        looked(world, command)
    look, without_loss, with_loss = PAGES["manual-failover"]
    wait, home = PAGES["failback"]
    looked(world, look)
    moved(world, without_loss, to="europe-west1")
    looked(world, wait)
    moved(world, home, to="us-east-1")
    moved(world, with_loss, to="europe-west1")
    moved(world, home, to="us-east-1")
    for command in PAGES["drill"]:
        drilled(world, command)
