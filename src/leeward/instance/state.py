"""What the manager keeps across restarts, in one small file, synced before it is relied on."""

import os
from pathlib import Path

from leeward.core.codec import decode, encode
from leeward.instance.machine.values import State


def load(path: Path) -> State:
    """Return what was saved, or the state of a new instance. Raises DecodeError on a damaged file."""
    try:
        return decode(State, path.read_bytes())
    except FileNotFoundError:
        return State()


def save(path: Path, state: State) -> None:
    """Replace the file atomically; when this returns, the state survives a power cut."""
    write_durably(path, encode(state).encode())


def write_durably(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file and sync it and its directory before it takes its name."""
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames inside a directory durable."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Make what was written to a file durable."""
    _sync(path, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
