"""The objects that a region of a world starts with, in one file.

Always true: who replaces the file holds its lock, so a renewal changes what ``leeward apply`` wrote and undoes nothing.
"""

import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from leeward.ports.cluster import KubeObject
from leeward.world.model import RegionConfig

OBJECTS = "objects.json"


def read(region: RegionConfig) -> list[KubeObject]:
    """Return the objects that a region starts with. Raises OSError, ValueError."""
    items: list[KubeObject] = json.loads((Path(region.manifests) / OBJECTS).read_text("utf-8"))
    return items


def write(region: RegionConfig, objects: list[KubeObject]) -> None:
    """Replace the objects that a region starts with, in one step. Raises OSError."""
    with _locked(region, wait=True):
        _write(region, objects)


def change(region: RegionConfig, changed: Callable[[list[KubeObject]], bool]) -> None:
    """Replace them by what ``changed`` makes of the list, when it returns that it changed it.

    Raises OSError (BlockingIOError while another process writes) and ValueError.
    """
    with _locked(region, wait=False):
        objects = read(region)
        if changed(objects):
            _write(region, objects)


def replace(path: Path, text: str) -> None:
    """Replace a file in one step. It keeps its group and mode: a region may have to read it. Raises OSError."""
    fresh = path.with_name(f".{path.name}.new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(text)
        with suppress(FileNotFoundError):
            known = path.stat()
            os.fchown(file.fileno(), -1, known.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(known.st_mode))
    fresh.replace(path)


def _write(region: RegionConfig, objects: list[KubeObject]) -> None:
    replace(Path(region.manifests) / OBJECTS, json.dumps(objects, indent=1))


@contextmanager
def _locked(region: RegionConfig, *, wait: bool) -> Iterator[None]:
    directory = os.open(region.manifests, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(directory)
