"""The directory of PostgreSQL's sockets: ours, and closed to other users, before anything listens there."""

import errno
import os
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o700


def make_private(path: Path) -> None:
    """Make a directory that only we may enter, or close one of ours that is there.

    Where paths are long it is among the temporary files, under a name that others can foresee.
    Raises PermissionError when another user made it, other OSErrors when it is a symbolic link or cannot be made.
    """
    path.mkdir(mode=_MODE, parents=True, exist_ok=True)
    handle = os.open(path, _DIRECTORY)
    try:
        if os.fstat(handle).st_uid != os.geteuid():
            raise PermissionError(
                errno.EPERM, "the directory for PostgreSQL's sockets belongs to another user", str(path)
            )
        os.fchmod(handle, _MODE)
    finally:
        os.close(handle)
