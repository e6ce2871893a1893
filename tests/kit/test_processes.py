"""What programs write to standard error when they cannot start: one line, which names them."""

import json
import subprocess
import sys
from pathlib import Path


def refused(*arguments: str) -> list[str]:
    command = [sys.executable, "-m", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (result.returncode, result.stdout) == (2, "")
    return result.stderr.splitlines()


def test_an_agent_names_itself(tmp_path: Path) -> None:
    (line,) = map(json.loads, refused("leeward.agent", "--config", str(tmp_path / "missing.json")))
    assert (line["component"], line["level"], line["event"]) == ("agent", "error", "cannot start")


def test_the_embedded_kubernetes_names_itself_and_its_region(tmp_path: Path) -> None:
    for name in ("token", "tls.crt", "tls.key"):
        (tmp_path / name).write_text("")
    arguments = ["--region", "eu", "--index", "7", "--directory", str(tmp_path), "--listen", "127.0.0.1:0"]
    arguments += ["--token-file", str(tmp_path / "token"), "--identity", str(tmp_path)]
    (line,) = refused("leeward.world.kubernetes.main", *arguments)
    assert line.partition(" ")[2].startswith("kubernetes ERROR cannot serve region=eu because=")
