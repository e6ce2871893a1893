"""What the manager must remember across its own death, in one small file, synced before it matters."""

import os
from dataclasses import dataclass
from pathlib import Path

from leeward.core.codec import decode, encode
from leeward.core.values import Order, Region, WalPosition


@dataclass(frozen=True, slots=True)
class State:
    """Persistent facts about one instance."""

    epoch: int = 0
    """The highest epoch accepted; lower ones are refused for ever."""
    order: Order | None = None
    """The last order accepted."""
    initialised: bool = False
    """Once true, an empty data directory is a loss to report, never a reason for initdb."""
    writable_epoch: int | None = None
    """The last epoch it may have accepted writes under, until it takes another's history. Set before the first
    write is possible."""
    incomplete: bool = False
    """A copy or a rewind was interrupted: the data directory is of no use but to be replaced."""
    copied_from: Region | None = None
    """Fresh from a copy or a rewind: consistent only once it has streamed from this region."""
    stopped_wal: WalPosition | None = None
    """Where history ended when PostgreSQL was last stopped cleanly on order."""


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
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
