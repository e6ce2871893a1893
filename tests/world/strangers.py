"""Another local user, for tests: root becomes one for a while."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STRANGER = 65534


@contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """Make, connect and listen as another user until the block ends."""
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@contextmanager
def shared_place() -> Iterator[Path]:
    """Yield a directory where every user may write, as /tmp is, until the block ends."""
    path = Path(tempfile.mkdtemp(prefix="lw-"))
    path.chmod(0o1777)
    try:
        yield path
    finally:
        shutil.rmtree(path)
