"""Get the real promtool: ``python -m tests.compile.promtool.prepare``. Tests do not download.

From Debian's package (tests/debian.py). PROMTOOL, the path of a binary, goes before.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests import debian

PACKAGE = debian.Package(
    name="prometheus",
    version="2.42.0+ds-5+deb12u1",
    sha256="81d59a24fce84f7fbe97a45a4f2914b6a5881b5cd1db2a6a0e129e515e1a5f55",
)
COMMAND = "python -m tests.compile.promtool.prepare"


def binary() -> Path:
    """Return where promtool is, or would be."""
    if given := os.environ.get("PROMTOOL"):
        return Path(given)
    cache = (
        os.environ.get("LEEWARD_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "leeward"
    )
    return Path(cache) / "promtool" / PACKAGE.version / "promtool"


def why_not() -> str | None:
    """Say why the tests cannot run, and what to do; None when they can."""
    if os.access(binary(), os.X_OK):
        return None
    if not debian.is_debian():
        return f"there is no {binary()}, and this is no Debian to take it from: set PROMTOOL to a binary"
    return f"there is no {binary()}. Run: {COMMAND} (20 MB, once; or set PROMTOOL)"


def main() -> int:
    """Take the one program out of the package."""
    reason = why_not()
    if reason is None:
        return 0
    if not debian.is_debian():
        print(reason, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as directory:
        try:
            unpacked = debian.unpack(PACKAGE, Path(directory))
        except debian.PackageError as error:
            print(f"{error}: set PROMTOOL to a binary", file=sys.stderr)
            return 2
        binary().parent.mkdir(parents=True, exist_ok=True)
        partial = binary().with_suffix(f".{os.getpid()}")
        shutil.copy(unpacked / "usr" / "bin" / "promtool", partial)
        partial.replace(binary())
    return 0


if __name__ == "__main__":
    sys.exit(main())
