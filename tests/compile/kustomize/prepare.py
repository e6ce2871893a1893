"""Build the real kustomize: ``python -m tests.compile.kustomize.prepare``. Tests neither compile nor download.

Go checks what it downloads against its checksum database. KUSTOMIZE, the path of a binary, goes before.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "v5.7.1"
MODULE = f"sigs.k8s.io/kustomize/kustomize/v5@{VERSION}"
COMMAND = "python -m tests.compile.kustomize.prepare"


def binary() -> Path:
    """Return where kustomize is, or would be."""
    if given := os.environ.get("KUSTOMIZE"):
        return Path(given)
    cache = (
        os.environ.get("LEEWARD_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "leeward"
    )
    return Path(cache) / "kustomize" / VERSION / "kustomize"


def why_not() -> str | None:
    """Say why the tests cannot run, and what to do; None when they can."""
    if os.access(binary(), os.X_OK):
        return None
    if shutil.which("go") is None:
        return f"there is no {binary()}, and no go to build it with: set KUSTOMIZE to a binary"
    return f"there is no {binary()}. Run: {COMMAND} (about 3 minutes, once; or set KUSTOMIZE)"


def main() -> int:
    """Build it, last in line for the processor: the machine may be measuring something."""
    if why_not() is None:
        return 0
    binary().parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "GOBIN": str(binary().parent), "CGO_ENABLED": "0", "GOFLAGS": ""}
    return subprocess.run(["nice", "-n", "19", "go", "install", MODULE], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
