"""The programs that a real cluster consists of: where they are, and which are missing.

KUBEBUILDER_ASSETS goes first for those of the control plane, then PATH, then Leeward's cache, which
``make clusters`` fills.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
NODE = ("containerd", "containerd-shim-runc-v2", "ctr", "runc", "nft", "conntrack")
SYSTEM = ("ip", "mount", "umount")
"""What the machine itself has to have."""
PLUGINS = ("bridge", "host-local", "loopback", "portmap")
"""Of the container network interface (CNI)."""
PLUGIN_DIRECTORIES = ("/usr/lib/cni", "/opt/cni/bin")
PAUSE_IMAGE = "pause.tar"


@dataclass(frozen=True, slots=True)
class Programs:
    """Every program of a cluster."""

    paths: Mapping[str, Path]
    plugins: Path
    """Directory of the CNI plugins."""
    libraries: Path
    """Shared libraries that came with the programs; it may be absent."""
    pause_image: Path
    """Archive of the image that holds a pod's namespaces."""

    def path(self) -> str:
        """Return PATH for a program that starts others by name."""
        return os.pathsep.join(dict.fromkeys(str(each.parent) for each in self.paths.values()))


def cache_directory() -> Path:
    """Return where Leeward keeps what can be made again: LEEWARD_CACHE, or in the user's cache directory."""
    if given := os.environ.get("LEEWARD_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leeward"


def clusters_directory() -> Path:
    """Return where ``make clusters`` puts programs (bin/), plugins (cni/), libraries (lib/) and images (images/)."""
    return cache_directory() / "clusters"


def find() -> Programs | tuple[str, ...]:
    """Return the programs, or the names of what is missing."""
    cache = clusters_directory()
    paths = {name: _program(name, cache) for name in (*CONTROL_PLANE, *NODE, *SYSTEM)}
    plugins = next((each for each in (*map(Path, PLUGIN_DIRECTORIES), cache / "cni") if _complete(each)), None)
    pause = cache / "images" / PAUSE_IMAGE
    missing = [name for name, path in paths.items() if path is None]
    missing += [] if plugins else ["CNI plugins"]
    missing += [] if pause.is_file() else ["pause image"]
    if missing or plugins is None:
        return tuple(missing)
    return Programs({name: path for name, path in paths.items() if path}, plugins, cache / "lib", pause)


def _program(name: str, cache: Path) -> Path | None:
    searched = [os.environ.get("KUBEBUILDER_ASSETS", "")] if name in CONTROL_PLANE else []
    searched += [os.environ.get("PATH", os.defpath), str(cache / "bin")]
    searched += ["/usr/sbin", "/sbin"] if name in SYSTEM else []
    found = shutil.which(name, path=os.pathsep.join(filter(None, searched)))
    return Path(found).absolute() if found else None


def _complete(directory: Path) -> bool:
    return all(os.access(directory / name, os.X_OK) for name in PLUGINS)
