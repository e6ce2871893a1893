"""Remove a world's directory. Apart from the rest, so that the janitor stays small.

Always true: nothing outside it is touched, whatever symbolic links are in it or were put in its place. Every directory
is opened relative to the one above, and no symbolic link is followed.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from leeward.world.ownership import DIRECTORY, ForeignError, open_directory, open_within

LOCK = "lock"
REMOVE_ATTEMPTS = 20
REMOVE_PAUSE_S = 0.1
HANDS = 8
"""Where the file system discards every freed block, removing thousands of files one by one takes seconds."""


def remove(path: str) -> None:
    """Remove a world's directory, though processes that are just ending may still write there.

    The home we made ourselves goes with its last world. Raises OSError when something stays: ForeignError when the
    directory, or one on the way to it, belongs to another user.
    """
    parent, name = os.path.split(path)
    try:
        home = open_directory(Path(parent))
    except FileNotFoundError:
        return
    try:
        for attempt in range(REMOVE_ATTEMPTS):
            try:
                _remove_world(home, name)
            except ForeignError:
                raise
            except OSError:
                if not _is_there(home, name):
                    break
                if attempt == REMOVE_ATTEMPTS - 1:
                    raise
                time.sleep(REMOVE_PAUSE_S)
            else:
                break
    finally:
        os.close(home)
    if "LEEWARD_HOME" not in os.environ and os.path.basename(parent).startswith("leeward"):
        with contextlib.suppress(OSError):  # other worlds live there
            os.rmdir(parent)


def _remove_world(home: int, name: str) -> None:
    """The lock goes last: until then another process can finish a removal that was interrupted."""
    world = open_within(home, name)
    try:
        folders = [folder for folder, _folders, _files, _handle in os.fwalk(".", topdown=False, dir_fd=world)]
        with ThreadPoolExecutor(HANDS) as hands:
            list(hands.map(lambda folder: _empty(world, folder, kept=LOCK if folder == "." else None), folders))
        for folder in folders[:-1]:
            above, last = os.path.split(folder)
            with _opened(world, above) as handle:
                os.rmdir(last, dir_fd=handle)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(LOCK, dir_fd=world)
    finally:
        os.close(world)
    os.rmdir(name, dir_fd=home)


def _empty(world: int, folder: str, kept: str | None) -> None:
    with _opened(world, folder) as handle, os.scandir(handle) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False) and entry.name != kept:
                os.unlink(entry.name, dir_fd=handle)


@contextlib.contextmanager
def _opened(world: int, folder: str) -> Iterator[int]:
    """Yield a descriptor of a directory below the world's, by the way ``os.fwalk`` names it: ``./a/b``."""
    at = os.open(".", DIRECTORY, dir_fd=world)
    try:
        for name in folder.split("/")[1:]:
            deeper = os.open(name, DIRECTORY, dir_fd=at)
            os.close(at)
            at = deeper
        yield at
    finally:
        os.close(at)


def _is_there(home: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=home, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
