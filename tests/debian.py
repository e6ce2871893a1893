"""Programs from Debian's packages, which are taken apart and not installed: no root is needed.

apt checks Debian's signature, and the sum that the caller pins says that it is the package that was tried.
"""

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

DOWNLOAD_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One version of one package."""

    name: str
    version: str
    sha256: str
    architecture: str = "amd64"


class PackageError(Exception):
    """The package cannot be had here; the text says why."""


def is_debian() -> bool:
    """Return whether packages can be downloaded and taken apart here."""
    return shutil.which("apt-get") is not None and shutil.which("dpkg-deb") is not None


def unpack(package: Package, directory: Path) -> Path:
    """Download a package into an empty directory; return the directory of its files. Raises PackageError."""
    wanted = f"{package.name}:{package.architecture}={package.version}"
    subprocess.run(
        ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", wanted],
        cwd=directory,
        check=False,
        timeout=DOWNLOAD_S,
    )
    found = list(directory.glob("*.deb"))
    if not found:
        raise PackageError(f"apt-get has no {wanted} here")
    digest = hashlib.sha256(found[0].read_bytes()).hexdigest()
    if digest != package.sha256:
        raise PackageError(f"{found[0].name} is {digest}, and {package.sha256} is pinned")
    subprocess.run(["dpkg-deb", "-x", found[0], "unpacked"], cwd=directory, check=True, timeout=DOWNLOAD_S)
    return directory / "unpacked"
