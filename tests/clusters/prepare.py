"""Get what a real cluster consists of: ``python -m tests.clusters.prepare``, or ``make clusters``.

Kubernetes and etcd are built from Go modules, all else comes from Debian's packages; every version is pinned, and
everything lands in the cache. Tests themselves neither compile nor download.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leeward.world.clusters import images, node
from leeward.world.clusters.programs import CONTROL_PLANE, PAUSE_IMAGE, clusters_directory, find
from tests import debian
from tests.kubernetes import prepare as control_plane
from tests.kubernetes import programs

COMMAND = "make clusters"
PACKAGES = Path(__file__).with_name("packages.toml")
ETCD = programs.MODULE.parent / "etcd"
ANSWER_IMAGE = "leeward.local/answer:1"


def answer_archive() -> Path:
    """Return where the image of the tests' own pods is."""
    return clusters_directory() / "images" / "answer.tar"


def why_not() -> str | None:
    """Say why no real cluster can run here and what to do; None when one can."""
    if os.geteuid() != 0:
        return "a real cluster needs root"
    found = find()
    if isinstance(found, tuple):
        return f"{', '.join(found)} missing. Run: {COMMAND} (some minutes, once; needs Go and Debian)"
    return None


def main() -> int:
    """Build and fetch what is missing. Returns 2 when something cannot be had, and says what."""
    directory = clusters_directory()
    for each in ("bin", "cni", "lib", "images"):
        (directory / each).mkdir(parents=True, exist_ok=True)
    with (directory / "prepare.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another checkout may be at it
        try:
            _debian(directory)
            _go(directory)
        except (debian.PackageError, subprocess.CalledProcessError, OSError) as error:
            print(f"no real clusters: {error}", file=sys.stderr)
            return 2
    return 0


def _debian(directory: Path) -> None:
    for entry in tomllib.loads(PACKAGES.read_text("utf-8"))["package"]:
        package = debian.Package(name=entry["name"], version=entry["version"], sha256=entry["sha256"])
        stamp = directory / f"{package.name}.sha256"
        if stamp.exists() and stamp.read_text() == package.sha256:
            continue
        if not debian.is_debian():
            raise debian.PackageError(f"{package.name} comes from Debian's package, and this is no Debian")
        with tempfile.TemporaryDirectory() as scratch:
            _take(debian.unpack(package, Path(scratch)), entry, directory)
        stamp.write_text(package.sha256)


def _take(unpacked: Path, entry: Mapping[str, Any], directory: Path) -> None:
    for key, target in (("programs", "bin"), ("plugins", "cni")):
        for path in entry.get(key, ()):
            _replace(unpacked / path, directory / target / Path(path).name)
    for library in unpacked.rglob("*.so.*"):
        if "programs" not in entry and "plugins" not in entry:
            _replace(library, directory / "lib" / library.name)


def _replace(source: Path, target: Path) -> None:
    """Put a file in place in one step: the one before may be running."""
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copy(source, partial)
    partial.replace(target)


def _go(directory: Path) -> None:
    for name in CONTROL_PLANE:
        if name == "etcd":
            built = _built(ETCD, ".", programs.cache_dir() / "etcd" / _etcd_version() / name)
        else:
            built = programs.cache_dir() / "controlplane" / programs.kubernetes_version() / name
            if not built.exists():
                built.parent.mkdir(parents=True, exist_ok=True)
                control_plane.build(name)
        _link(built, directory / "bin" / name)
    pause = _built(programs.MODULE, "./pause", directory / "bin" / "pause")
    answer = _built(programs.MODULE, "./answer", directory / "bin" / "answer")
    images.archive(directory / "images" / PAUSE_IMAGE, node.PAUSE_IMAGE, {"pause": pause.read_bytes()}, ["/pause"])
    images.archive(answer_archive(), ANSWER_IMAGE, {"answer": answer.read_bytes()}, ["/answer"])


def _built(module: Path, package: str, target: Path) -> Path:
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    # One package at a time and last in line: the machine may be measuring something.
    command = [
        "nice",
        "-n",
        "19",
        "go",
        "build",
        "-p",
        "1",
        "-trimpath",
        "-ldflags",
        "-s -w",
        "-o",
        str(partial),
        package,
    ]
    subprocess.run(
        [*command, package],
        cwd=module,
        env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": ""},
        check=True,
    )
    partial.replace(target)
    return target


def _etcd_version() -> str:
    found = re.search(r"^require go\.etcd\.io/etcd/server/v3 (v\S+)$", (ETCD / "go.mod").read_text("utf-8"), re.M)
    assert found, f"{ETCD / 'go.mod'} requires no etcd"
    return found[1]


def _link(built: Path, link: Path) -> None:
    partial = link.with_name(f".{link.name}.{os.getpid()}")
    partial.symlink_to(built)
    partial.replace(link)


if __name__ == "__main__":
    sys.exit(main())
