import os
import subprocess
from pathlib import Path

import pytest

from leeward.adapters.etcd.programs import ELF
from leeward.base.problem import ProblemsError
from leeward.world import engines


@pytest.mark.engine
def test_engines_are_binaries_that_tell_their_versions() -> None:
    found = engines.locate()
    for path in (found.etcd, found.envoy, found.postgres_bin / "postgres"):
        assert path.read_bytes()[:4] == ELF
        assert subprocess.run([path, "--version"], capture_output=True, check=True).stdout
    assert int(found.postgres_version.split(".")[0]) >= 16
    codes = [problem.code for problem in found.warnings]
    assert codes == (["etcd-version"] if found.etcd_version in ("3.5.0", "3.5.1", "3.5.2") else [])


def test_all_that_is_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProblemsError) as raised:
        engines.locate()
    assert [problem.what for problem in raised.value.problems] == [
        "etcd was not found",
        "Envoy was not found",
        "PostgreSQL was not found",
    ]


def test_a_wrapper_script_on_the_path_is_no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "etcd"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(ProblemsError, match="etcd was not found"):
        engines.locate()
