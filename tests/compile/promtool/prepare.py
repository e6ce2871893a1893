"""Get the real promtool: ``python -m tests.compile.promtool.prepare``. Tests do not download.

From Debian's package, which is taken apart and not installed: no root is needed. apt checks Debian's signature, and
the sum here says that it is the package that was tried. PROMTOOL, the path of a binary, goes before.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

VERSION = "2.42.0+ds-5+deb12u1"
SUM = "81d59a24fce84f7fbe97a45a4f2914b6a5881b5cd1db2a6a0e129e515e1a5f55"
ARCHITECTURE = "amd64"
COMMAND = "python -m tests.compile.promtool.prepare"
DOWNLOAD_S = 300


def binary() -> Path:
    """Return where promtool is, or would be."""
    if given := os.environ.get("PROMTOOL"):
        return Path(given)
    cache = (
        os.environ.get("LEEWARD_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "leeward"
    )
    return Path(cache) / "promtool" / VERSION / "promtool"


def why_not() -> str | None:
    """Say why the tests cannot run, and what to do; None when they can."""
    if os.access(binary(), os.X_OK):
        return None
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return f"there is no {binary()}, and this is no Debian to take it from: set PROMTOOL to a binary"
    return f"there is no {binary()}. Run: {COMMAND} (20 MB, once; or set PROMTOOL)"


def main() -> int:
    """Download the package, hold it against its sum, and take the one program out of it."""
    reason = why_not()
    if reason is None:
        return 0
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        print(reason, file=sys.stderr)
        return 2
    package = f"prometheus:{ARCHITECTURE}={VERSION}"
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(
            ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package],
            cwd=directory,
            check=False,
            timeout=DOWNLOAD_S,
        )
        found = list(Path(directory).glob("*.deb"))
        if not found:
            print(f"apt-get has no {package} here: set PROMTOOL to a binary", file=sys.stderr)
            return 2
        told = hashlib.sha256(found[0].read_bytes()).hexdigest()
        if told != SUM:
            print(f"{found[0].name} is {told}, and {SUM} is pinned", file=sys.stderr)
            return 2
        subprocess.run(["dpkg-deb", "-x", found[0], "unpacked"], cwd=directory, check=True, timeout=DOWNLOAD_S)
        binary().parent.mkdir(parents=True, exist_ok=True)
        partial = binary().with_suffix(f".{os.getpid()}")
        shutil.copy(Path(directory) / "unpacked" / "usr" / "bin" / "promtool", partial)
        partial.replace(binary())
    return 0


if __name__ == "__main__":
    sys.exit(main())
