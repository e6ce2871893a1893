"""``leeward diff`` against a real API server: what it says before, after and between, and how it fails."""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from leeward.adapters.kubernetes.client import KubernetesCluster
from leeward.compile import compile_cluster
from leeward.ports.cluster import KubeObject
from leeward.spec import load
from leeward.world.objects import engine_commands
from tests.cli.conftest import Run, leeward
from tests.kubernetes.api import Api
from tests.kubernetes.controlplane import SERVER_NAME, TOKEN, ControlPlane, control_plane

__all__ = ["leeward"]  # the fixture

pytestmark = [pytest.mark.kubernetes, pytest.mark.engine, pytest.mark.timeout(300)]

EXAMPLES = Path(__file__).parents[2] / "examples"
CALL_S = 60.0
Files = Callable[..., str]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Yield a control plane of our own: nobody else's objects, and no definitions."""
    with control_plane(tmp_path_factory.mktemp("plain")) as plane:
        yield plane


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Return a function that writes the files of hello, with words replaced, and returns their directory."""

    def write(**replaced: str) -> str:
        directory = tmp_path / "files"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        for name in ("fleet.yaml", "application.yaml"):
            text = (EXAMPLES / "hello" / name).read_text("utf-8")
            for old, new in replaced.items():
                text = text.replace(old.replace("_", " "), new)
            (directory / name).write_text(text, "utf-8")
        return str(directory)

    return write


def kubeconfig(plane: ControlPlane, directory: Path, *, user: dict[str, Any] | None = None, context: str = "us") -> str:
    """Write a kubeconfig with one context: by client certificate, unless ``user`` says otherwise."""
    connection = plane.connection
    own = {"client-certificate": str(connection.certificate_file), "client-key": str(connection.key_file)}
    cluster = {
        "server": connection.url,
        "certificate-authority": str(connection.ca_file),
        "tls-server-name": SERVER_NAME,
    }
    path = directory / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "plane", "cluster": cluster}],
        "users": [{"name": "admin", "user": own if user is None else user}],
        "contexts": [{"name": context, "context": {"cluster": "plane", "user": "admin"}}],
    }
    path.write_text(yaml.safe_dump(document), "utf-8")
    return str(path)


def apply(plane: ControlPlane, items: list[KubeObject]) -> None:
    async def all_of_them() -> None:
        async with KubernetesCluster(plane.connection) as cluster:
            for item in items:
                await cluster.apply(item, timeout_s=CALL_S)

    asyncio.run(all_of_them())


def test_from_nothing_to_no_difference_and_back(
    plain: ControlPlane, files: Files, leeward: Run, tmp_path: Path
) -> None:
    directory, config = files(), kubeconfig(plain, tmp_path)
    ask = ("diff", "-f", directory, "--cluster", "us", "--kubeconfig", config)
    items = compile_cluster(load(Path(directory)), "us", engines=engine_commands())

    before = leeward(*ask)
    assert before.returncode == 1, before.stderr
    assert {line[0] for line in before.stdout.splitlines()} == {"+"}
    assert len(before.stdout.splitlines()) == len(items)
    assert "their namespace does not exist yet" in before.stderr

    apply(plain, items)
    same = leeward(*ask)
    assert (same.returncode, same.stdout) == (0, ""), same.stderr
    assert f"{len(items)} as rendered" in same.stderr

    # A new image, a field that is no longer there, an object nobody renders, a hand that scaled, and a Secret.
    (quota,) = [item for item in items if item["kind"] == "ResourceQuota"]
    leftover = {**quota, "metadata": {**quota["metadata"], "name": "leftover"}}
    label = {"app.kubernetes.io/managed-by": "leeward"}
    metadata = {"name": "mine", "namespace": "hello", "labels": label}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"password": "do-not-show-me"}}
    apply(plain, [leftover, secret])
    files(**{"hello:0.1.0": "hello:0.2.0", "memory:_64Mi": "memory: 65Mi"})
    changed = leeward(*ask)
    assert changed.returncode == 1, changed.stderr
    lines = changed.stdout.splitlines()
    assert "~ Deployment hello/hello" in lines
    image = "    spec.template.spec.containers[hello].image: ghcr.io/leeward/hello:0.1.0 -> ghcr.io/leeward/hello:0.2.0"
    assert image in lines
    assert "    spec.template.spec.containers[hello].resources.requests.memory: 64Mi -> 65Mi" in lines
    assert lines[-2:] == ["- ResourceQuota hello/leftover", "- Secret hello/mine"]
    assert "do-not-show-me" not in changed.stdout + changed.stderr
    assert "leftover" not in leeward("render", "-f", directory, "--cluster", "us").stdout

    files()
    still = leeward(*ask)
    assert still.stdout.splitlines() == lines[-2:]


def test_what_the_server_refuses_is_said(plain: ControlPlane, files: Files, leeward: Run, tmp_path: Path) -> None:
    directory = Path(files())
    apply(plain, compile_cluster(load(directory), "us", engines=engine_commands()))
    fixed = {"kind": "StatefulSet", "name": "hello-postgres"}
    patch = {"target": fixed, "merge": {"spec": {"podManagementPolicy": "Parallel"}}}
    application = yaml.safe_load((directory / "application.yaml").read_text("utf-8"))
    application["spec"]["overrides"] = [{"clusters": ["us"], "patches": [patch]}]
    (directory / "application.yaml").write_text(yaml.safe_dump(application), "utf-8")
    result = leeward("diff", "-f", str(directory), "--cluster", "us", "--kubeconfig", kubeconfig(plain, tmp_path))
    assert result.returncode == 1
    head, why = (line for line in result.stdout.splitlines() if "StatefulSet" in line or "rejected" in line)
    assert head == "! StatefulSet hello/hello-postgres"
    assert "updates to statefulset spec for fields other than" in why


def test_kinds_the_cluster_does_not_know_are_one_error(plain: ControlPlane, leeward: Run, tmp_path: Path) -> None:
    config = kubeconfig(plain, tmp_path, context="fnp-us")
    result = leeward("diff", "-f", str(EXAMPLES / "fnp"), "-c", "fnp-us", "--kubeconfig", config)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("error[") == 1
    assert "error[missing-definitions]" in result.stderr
    assert "Gateway (networking.istio.io/v1)" in result.stderr


def test_a_cluster_out_of_reach_is_one_error(plain: ControlPlane, files: Files, leeward: Run, tmp_path: Path) -> None:
    config = Path(kubeconfig(plain, tmp_path))
    config.write_text(config.read_text("utf-8").replace(f":{plain.port}", ":1"), "utf-8")
    result = leeward("diff", "-f", files(), "-c", "us", "--kubeconfig", str(config))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("error[") == 1
    assert "error[cluster-unreachable]" in result.stderr


def test_who_may_not_look_is_told(plain: ControlPlane, files: Files, leeward: Run, tmp_path: Path) -> None:
    config = kubeconfig(plain, tmp_path, user={"token": "a-secret-nobody-knows"})
    result = leeward("diff", "-f", files(), "-c", "us", "--kubeconfig", config)
    assert result.returncode == 2
    assert "error[cluster-refuses]" in result.stderr
    assert "Unauthorized" in result.stderr
    assert "a-secret-nobody-knows" not in result.stdout + result.stderr


def test_a_credential_plugin_lets_us_in(plain: ControlPlane, files: Files, leeward: Run, tmp_path: Path) -> None:
    status = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": TOKEN}}
    plugin = tmp_path / "plugin"
    plugin.write_text(
        f'#!/bin/sh\ntest -n "$KUBERNETES_EXEC_INFO" && test "$1" = us && echo \'{json.dumps(status)}\'\n'
    )
    plugin.chmod(0o755)
    wanted = {"apiVersion": status["apiVersion"], "command": str(plugin), "args": ["us"]}
    config = kubeconfig(plain, tmp_path, user={"exec": wanted}, context="somewhere")
    ask = ("diff", "-f", files(), "-c", "us", "--kubeconfig", config, "--context", "somewhere")
    assert leeward(*ask).returncode in (0, 1)
    plugin.write_text("#!/bin/sh\nexit 3\n")
    refused = leeward(*ask)
    assert refused.returncode == 2
    assert "error[no-credentials]" in refused.stderr
    assert "it ended with status 3" in refused.stderr


def test_what_argo_cd_applied_is_compared_as_argo_cd(
    plane: ControlPlane, api: Api, files: Files, leeward: Run, tmp_path: Path
) -> None:
    delivered = "gitops: {repository: 'https://git.example.com/x.git'}"
    directory = files(**{"name:_hello\nspec:\n__regions": f"name: hello\nspec:\n  {delivered}\n  regions"})
    for item in compile_cluster(load(Path(directory)), "us", engines=engine_commands()):
        annotations = {**item["metadata"].get("annotations", {}), "argocd.argoproj.io/tracking-id": "hello:x"}
        tracked = {**item, "metadata": {**item["metadata"], "annotations": annotations}}
        if item["kind"] == "ResourceQuota":
            tracked["spec"] = {"hard": {**item["spec"]["hard"], "count/secrets": "9"}}
        if item["kind"] in ("AppProject", "ApplicationSet"):
            api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}})
        assert api.apply(tracked, manager="argocd-controller").complaints == []
    result = leeward("diff", "-f", directory, "--cluster", "us", "--kubeconfig", kubeconfig(plane, tmp_path))
    assert "as argocd-controller" in result.stderr
    # Other tests' objects bear our label too. A limit that Argo CD set and that is no longer rendered goes.
    lines = [line for line in result.stdout.splitlines() if not line.startswith("- ")]
    assert lines == ["~ ResourceQuota hello/hello", "    spec.hard[count/secrets]: 9 -> (none)"]
