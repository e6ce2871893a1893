"""Which kubeconfig counts, which entry, and what is said when none leads anywhere."""

import base64
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from leeward.adapters.kubernetes.kubeconfig import connection, read
from leeward.base.problem import ProblemsError

PROXIED = "{contexts: [{name: us, context: {cluster: c}}], clusters: [{name: c, cluster: {server: s, proxy-url: p}}]}"


def write(path: Path, name: str, server: str, user: dict[str, Any] | None = None, **cluster: Any) -> Path:
    document = {
        "clusters": [{"name": name, "cluster": {"server": server, **cluster}}],
        "users": [{"name": name, "user": user or {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document), "utf-8")
    return path


def test_the_option_beats_the_environment_and_that_the_home(tmp_path: Path) -> None:
    given = write(tmp_path / "given", "us", "https://given")
    listed = write(tmp_path / "listed", "us", "https://listed")
    write(tmp_path / ".kube" / "config", "us", "https://home")
    home = {"HOME": str(tmp_path)}
    for config, url in (
        (read(given, {**home, "KUBECONFIG": str(listed)}), "https://given"),
        (read(None, {**home, "KUBECONFIG": str(listed)}), "https://listed"),
        (read(None, home), "https://home"),
    ):
        with connection(config, "us") as found:
            assert found.url == url


def test_files_are_merged_and_the_first_counts(tmp_path: Path) -> None:
    first = write(tmp_path / "one" / "config", "us", "https://first", **{"certificate-authority": "ca.crt"})
    second = write(tmp_path / "two" / "config", "us", "https://second")
    other = write(tmp_path / "three" / "config", "eu", "https://eu")
    missing = tmp_path / "missing"
    config = read(None, {"KUBECONFIG": os.pathsep.join(map(str, (missing, first, second, other)))})
    with connection(config, "us") as us, connection(config, "eu") as eu:
        assert (us.url, us.ca_file) == ("https://first", first.parent / "ca.crt")
        assert eu.url == "https://eu"


def test_inline_keys_are_ours_alone_and_do_not_stay(tmp_path: Path) -> None:
    encoded = base64.b64encode(b"a key").decode()
    user = {"client-certificate-data": encoded, "client-key-data": encoded, "token": "a token"}
    with connection(read(write(tmp_path / "config", "us", "https://us", user), {}), "us") as found:
        assert found.key_file is not None
        assert found.key_file.read_bytes() == b"a key"
        assert stat.S_IMODE(found.key_file.stat().st_mode) == 0o600
        assert (found.token, "a token" in repr(found)) == ("a token", False)
    assert not found.key_file.exists()


@pytest.mark.parametrize(
    ("text", "context", "code"),
    [
        (None, "us", "no-kubeconfig"),
        ("a: [", "us", "kubeconfig-unreadable"),
        ("contexts: [us]", "us", "kubeconfig-unreadable"),
        ("contexts: [{name: us, context: {cluster: gone}}]", "us", "unknown-cluster"),
        ("contexts: [{name: us, context: {cluster: us}}]\nclusters: [{name: us}]", "us", "kubeconfig-incomplete"),
        (PROXIED, "us", "kubeconfig-unsupported"),
        ("contexts: [{name: us-east, context: {}}]", "us-eats", "unknown-context"),
    ],
)
def test_what_leads_nowhere_is_said(tmp_path: Path, text: str | None, context: str, code: str) -> None:
    file = tmp_path / "config"
    if text is not None:
        file.write_text(text, "utf-8")
    with pytest.raises(ProblemsError) as error, connection(read(file, {}), context):
        pass
    (problem,) = error.value.problems
    assert (problem.code, str(file) in problem.where) == (code, True)
    if code == "unknown-context":
        assert "did you mean us-east?" in problem.fix
