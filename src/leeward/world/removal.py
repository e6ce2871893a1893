"""Remove a world's directory. Apart from the rest, so that the janitor stays small."""

import contextlib
import os
import shutil
import time

LOCK = "lock"
REMOVE_ATTEMPTS = 20
REMOVE_PAUSE_S = 0.1


def remove(path: str) -> None:
    """Remove a world's directory, though processes that are just ending may still write there.

    The home we made ourselves goes with its last world. Raises OSError when something stays.
    """
    for attempt in range(REMOVE_ATTEMPTS):
        try:
            _remove_contents(path)
            os.rmdir(path)
        except OSError:
            if not os.path.lexists(path):
                break
            if attempt == REMOVE_ATTEMPTS - 1:
                raise
            time.sleep(REMOVE_PAUSE_S)
        else:
            break
    home = os.path.dirname(path)
    if "LEEWARD_HOME" not in os.environ and os.path.basename(home).startswith("leeward-"):
        with contextlib.suppress(OSError):  # other worlds live there
            os.rmdir(home)


def _remove_contents(path: str) -> None:
    """The lock goes last: until then whoever comes next can finish a removal that was interrupted."""
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name == LOCK):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
