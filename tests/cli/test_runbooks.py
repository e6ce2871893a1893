"""The rendered runbooks, followed to the letter in a real world of three regions."""

import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from leeward.compile import tree
from leeward.spec import load
from leeward.world.objects import engine_commands
from tests.cli.test_world import PAYMENTS, Leeward

pytestmark = [pytest.mark.world, pytest.mark.timeout(400)]

PAGES = {
    Path(name).stem: re.findall(r"```sh\n\s*(.*?)\n\s*```", text)
    for name, text in tree(load(PAYMENTS), engines=engine_commands()).items()
    if "/runbooks/" in name
}
REJOIN_S = 120.0


@pytest.fixture(scope="module")
def world() -> Iterator[Leeward]:
    home = Path(tempfile.mkdtemp(prefix="lw-"))
    leeward = Leeward(home)
    result = leeward("up", str(PAYMENTS), "--timeout", "120s")
    assert result.returncode == 0, result.stderr
    try:
        yield leeward
    finally:
        leeward("down")
        shutil.rmtree(home, ignore_errors=True)


def follow(world: Leeward, command: str) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(command)
    assert program == "leeward"
    return world(*arguments)


def primary(world: Leeward) -> object:
    applications = world.json("status", "-o", "json")["applications"]
    assert isinstance(applications, list)
    return applications[0]["primary"]


def moved(world: Leeward, command: str, *, to: str) -> None:
    """Follow a command until the primary is there.

    What is refused, as while the old primary rejoins, and what has an unknown outcome is asked again, as its fix says.
    """
    deadline_s = time.monotonic() + REJOIN_S
    while True:
        result = follow(world, command)
        if primary(world) == to:
            return
        assert result.returncode != 0, f"{command} said it was done: {world('status').stdout}"
        assert time.monotonic() < deadline_s, f"{result.stderr}\n{world('status').stdout}"
        time.sleep(1.0)


def test_every_step_does_what_its_page_says(world: Leeward) -> None:
    for command in [*PAGES["automated-failover"], *PAGES["alerts"]]:
        assert follow(world, command).returncode == 0, command
    look, without_loss, with_loss = PAGES["manual-failover"]
    wait, home = PAGES["failback"]
    assert follow(world, look).returncode == 0
    moved(world, without_loss, to="europe-west1")
    assert follow(world, wait).returncode == 0
    moved(world, home, to="us-east-1")
    moved(world, with_loss, to="europe-west1")
    moved(world, home, to="us-east-1")
    for command in PAGES["drill"]:
        # One run tells as much about the command as three.
        result = follow(world, command.replace("--runs 3", "--runs 1"))
        assert result.returncode in (0, 1), f"{command}\n{result.stderr}"
