"""The control plane of the tests: it is the real thing, and nothing of it stays."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.kubernetes.api import Api
from tests.kubernetes.controlplane import control_plane
from tests.kubernetes.programs import API_SERVER, program

pytestmark = [pytest.mark.kubernetes, pytest.mark.engine, pytest.mark.timeout(300)]

ENDS_S = 60.0
STARTER = """
import pathlib, sys
from tests.kubernetes.controlplane import control_plane
with control_plane(pathlib.Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_it_is_the_program_that_was_built(api: Api) -> None:
    said = subprocess.run([program(API_SERVER), "--version"], capture_output=True, text=True, check=True, timeout=60)
    status, text = api.ask("/version")
    assert (status, f"Kubernetes {json.loads(text)['gitVersion']}") == (200, said.stdout.strip())


def test_nothing_stays(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children()}
    with control_plane(tmp_path / "plane") as plane:
        started = [child for child in psutil.Process().children() if child.pid not in before]
        assert len(started) == 2
    assert not [child for child in started if child.is_running()]
    with Api(plane.connection) as api, pytest.raises(OSError, match="refused"):
        api.ask("/readyz")


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path / "plane")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"ready\n"
        started = psutil.Process(starter.pid).children()
        starter.send_signal(signal.SIGKILL)
    assert len(started) == 2
    _, alive = psutil.wait_procs(started, ENDS_S)
    assert not alive


def test_what_failed_to_start_tells_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "assets"
    broken.mkdir()
    for name in ("etcd", "kube-apiserver"):
        (broken / name).write_text("#!/bin/sh\necho cannot start >&2\nexit 1\n")
        (broken / name).chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(broken))
    with pytest.raises(AssertionError, match="cannot start"), control_plane(tmp_path / "plane"):
        pass
