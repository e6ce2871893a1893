"""The data directories of a world's store members: exchanged all at once, and put back if need be.

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
    """Puts new data directories in the place of the members'. Nothing may run on them meanwhile."""

    members: Sequence[tuple[Path, Path]]
    """Each member's data directory, in a directory that is there, and the new one for it, on the same file system."""
    stamp: str
    """Distinguishes what this exchange keeps from what earlier ones kept."""
    _done: list[tuple[Path, Path]] = field(default_factory=list)

    def do(self) -> None:
        """Exchange them; each gets the owner that its volume has. Raises OSError, after which ``undo`` is due."""
        for current, new in self.members:
            _give(new, like=current.parent)
            kept = current.with_name(f"{BEFORE}{self.stamp}")
            if current.exists():
                current.rename(kept)
            self._done.append((current, kept))
            new.rename(current)

    def undo(self) -> None:
        """Put the old ones back, as far as they were exchanged. Raises OSError."""
        while self._done:
            current, kept = self._done.pop()
            shutil.rmtree(current, ignore_errors=True)
            if kept.exists():
                kept.rename(current)

    def forget_older(self) -> None:
        """Remove what earlier exchanges kept; this one's old directories stay beside the new ones."""
        for current, _ in self.members:
            for path in current.parent.glob(f"{BEFORE}*"):
                if path.name != f"{BEFORE}{self.stamp}":
                    shutil.rmtree(path, ignore_errors=True)


def _give(path: Path, *, like: Path) -> None:
    """Give a directory with all in it to the owner of another one. Only root can, and only root has to."""
    owner = like.stat()
    if (owner.st_uid, owner.st_gid) == (path.stat().st_uid, path.stat().st_gid):
        return
    for folder, _, files in os.walk(path):
        for name in (folder, *(os.path.join(folder, file) for file in files)):
            os.chown(name, owner.st_uid, owner.st_gid, follow_symlinks=False)
