"""The data directories of a world's store members: exchanged all at once, and restored on failure.

Always true: whatever happens between two steps, each member's old data is on its volume, in its place or beside it.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

BEFORE = "member.before-"


@dataclass(slots=True)
class Exchange:
    """Replaces the members' data directories with new ones. No member may run meanwhile."""

    members: Sequence[tuple[Path, Path]]
    """Each member's data directory, whose parent exists, and its new one, on the same file system."""
    stamp: str
    """Distinguishes the directories that this exchange keeps from those of earlier ones."""
    _done: list[tuple[Path, Path]] = field(default_factory=list)

    def do(self) -> None:
        """Exchange them; each gets the owner of its volume. Raises OSError, after which ``undo`` must be called."""
        for current, new in self.members:
            _chown_tree(new, like=current.parent)
            kept = current.with_name(f"{BEFORE}{self.stamp}")
            if current.exists():
                current.rename(kept)
            self._done.append((current, kept))
            new.rename(current)

    def undo(self) -> None:
        """Restore the old ones, as far as they were exchanged. Raises OSError."""
        while self._done:
            current, kept = self._done.pop()
            shutil.rmtree(current, ignore_errors=True)
            if kept.exists():
                kept.rename(current)

    def remove_older(self) -> None:
        """Remove directories kept by earlier exchanges; this one's old directories stay beside the new ones."""
        for current, _ in self.members:
            for path in current.parent.glob(f"{BEFORE}*"):
                if path.name != f"{BEFORE}{self.stamp}":
                    shutil.rmtree(path, ignore_errors=True)


def _chown_tree(path: Path, *, like: Path) -> None:
    """Give a directory tree the owner of another directory. Only root can, and only root needs to."""
    owner = like.stat()
    if (owner.st_uid, owner.st_gid) == (path.stat().st_uid, path.stat().st_gid):
        return
    for folder, _, files in os.walk(path):
        for name in (folder, *(os.path.join(folder, file) for file in files)):
            os.chown(name, owner.st_uid, owner.st_gid, follow_symlinks=False)
