"""The tunnel's container starts again after any end, and takes its interface with it when it is asked to stop."""

import os
import signal
import subprocess
from pathlib import Path

from leeward.compile import compile_cluster
from leeward.spec import load
from leeward.world.objects import engine_commands
from tests.compile.evaluate import only
from tests.kit.waiting import block_until

COMMANDS = engine_commands()
EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = {
    "ip": 'rm "$STATE/wg0" && echo deleted >>"$STATE/calls"',
    "wg-quick": (
        'if [ "$1" = up ]; then\n'
        """  if [ -e "$STATE/wg0" ]; then echo "wg-quick: 'wg0' already exists" >&2; exit 1; fi\n"""
        '  touch "$STATE/wg0"\n'
        "else\n"
        '  rm "$STATE/wg0"\n'
        "fi\n"
        'echo "$1" >>"$STATE/calls"'
    ),
}
"""The node's interface is a file that outlives the container."""


def started(directory: Path) -> subprocess.Popen[bytes]:
    """Start the container's command, with programs that act on the node of this directory."""
    items = compile_cluster(load(EXAMPLES / "fnp"), "fnp-us", engines=COMMANDS)
    (container,) = only(items, "DaemonSet", "wireguard")["spec"]["template"]["spec"]["containers"]
    for name, text in PROGRAMS.items():
        program = directory / name
        program.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
        program.chmod(0o700)
    path = f"{directory}:{os.environ['PATH']}"
    return subprocess.Popen(container["command"], env={"PATH": path, "STATE": str(directory)}, start_new_session=True)


def calls(directory: Path) -> list[str]:
    file = directory / "calls"
    return file.read_text("utf-8").split() if file.exists() else []


def test_a_tunnel_that_was_killed_comes_up_again_and_one_that_is_stopped_goes_away(tmp_path: Path) -> None:
    first = started(tmp_path)
    block_until(lambda: calls(tmp_path), accept=lambda made: made == ["up"])
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    second = started(tmp_path)
    block_until(lambda: calls(tmp_path), accept=lambda made: made == ["up", "deleted", "up"])
    assert second.poll() is None
    second.terminate()
    try:
        assert second.wait(30) == 0
    finally:
        os.killpg(second.pid, signal.SIGKILL)
    assert calls(tmp_path) == ["up", "deleted", "up", "down"]
    assert not (tmp_path / "wg0").exists()


def test_a_tunnel_is_ready_once_its_interface_is_there() -> None:
    items = compile_cluster(load(EXAMPLES / "fnp"), "fnp-us", engines=COMMANDS)
    pod = only(items, "DaemonSet", "wireguard")["spec"]["template"]["spec"]
    assert pod["containers"][0]["readinessProbe"]["exec"]["command"] == ["wg", "show", "wg0"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
