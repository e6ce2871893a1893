"""Remove a world's directory. Apart from the rest, so that the janitor stays small."""

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor

LOCK = "lock"
REMOVE_ATTEMPTS = 20
REMOVE_PAUSE_S = 0.1
HANDS = 8
"""A disk that is told of every freed block makes each file wait: four thousand of them, one by one, take seconds."""


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
    folders = [folder for folder, _folders, _files in os.walk(path, topdown=False)]
    with ThreadPoolExecutor(HANDS) as hands:
        list(hands.map(lambda folder: _empty(folder, kept=LOCK if folder == path else None), folders))
    for folder in folders[:-1]:
        os.rmdir(folder)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(path, LOCK))


def _empty(folder: str, kept: str | None) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False) and entry.name != kept:
                os.unlink(entry.path)
