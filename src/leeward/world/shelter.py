"""What a region of a root user's world sees of the file system, and what it may change there.

It runs as a user that owns nothing but the region's volumes, pods and logs. Directories that such a user may not pass
are covered, and within them only what the region needs is there: Python, this package, programs, the user's files, and
the region's own directory. So it needs no rights over root's files, and other regions' files are absent; a process that
reaches them anyway, as by ``/proc/PID/cwd``, has no rights there, as another user.

The region's directory itself stays root's: whatever its pods do, no name that root opens there becomes a link.
"""

import compileall
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import leeward
from leeward.kit import kernel
from leeward.world import users
from leeward.world.model import WorldConfig
from leeward.world.ownership import DIRECTORY

MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_SLAVE = 0x2, 0x4, 0x1000, 0x4000, 0x80000
WRITTEN = ("volumes", "pods", "logs")
"""The region's own, in its directory."""
READ = ("identity", "manifests")
"""Lent to the region: it reads them and does not change them."""


@dataclass(frozen=True, slots=True)
class Shelter:
    """One region's."""

    uid: int
    gid: int
    """Its user and group outside of the world."""
    own_namespace: bool
    """Whether it gets a user namespace, in which that user is ``users.ordinary_user``."""
    covers: tuple[str, ...]
    """Directories to hide."""
    openings: tuple[tuple[str, str], ...]
    """(directory, where it shows under a cover); those nearer to the root first."""

    def enter(self) -> None:
        """Move this process, which is root in its user namespace and has a single thread, inside. Raises OSError."""
        kernel.unshare(kernel.CLONE_NEWNS, "a mount namespace")
        kernel.mount(None, "/", None, MS_REC | MS_SLAVE)
        # In this namespace, and before a cover hides them.
        sources = [os.open(source, os.O_PATH | os.O_CLOEXEC) for source, _target in self.openings]
        before = os.umask(0o022)
        for cover in self.covers:
            kernel.mount("tmpfs", cover, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
        for handle, (_source, target) in zip(sources, self.openings, strict=True):
            os.makedirs(target, exist_ok=True)
            kernel.mount(f"/proc/self/fd/{handle}", target, None, MS_BIND | MS_REC)
            os.close(handle)
        os.umask(before)
        if self.own_namespace:
            users.enter_as_ordinary_user((self.uid, self.gid))
        else:
            users.become(self.uid, self.gid)
        # Programs with the set-user-id bit would make it root again.
        kernel.gain_no_privileges()


def of_world(config: WorldConfig, outside: Sequence[users.Ids] | None) -> dict[str, Shelter]:
    """Return each region's shelter, and compile this package for those who cannot keep what they compile.

    ``outside``: the user of each region, where user namespaces work; None: all are ``users.ordinary_user``.
    Raises OSError.
    """
    compileall.compile_dir(Path(leeward.__file__).parent, quiet=2)
    words = [word.rpartition("=")[2] for word in config.region_command]
    needed = [*_python(), *os.get_exec_path(), *(os.path.dirname(word) for word in words), *config.files]
    shelters = {}
    for index, region in enumerate(config.regions):
        uid, gid = users.ordinary_user() if outside is None else outside[index]
        covers, openings = plan([*needed, str(config.region_directory(region.name))], _passes)
        shelters[region.name] = Shelter(uid, gid, outside is not None, covers, openings)
    return shelters


def plan(needed: Iterable[str], passes: Callable[[str], bool]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Return what to cover and what to open again, so that each needed directory is reached by the path it has.

    ``passes``: whether a directory may be passed as it is.
    """
    targets = {}
    for path in needed:
        real = os.path.realpath(path)
        if os.path.isabs(path) and os.path.isdir(real):
            targets.update({os.path.normpath(path): real, real: real})
    closed = {target: _first_closed(target, passes) for target in targets}
    covers = {cover for cover in closed.values() if cover is not None}
    covers = {cover for cover in covers if covers.isdisjoint(map(str, PurePath(cover).parents))}
    openings = [(source, target) for target, source in targets.items() if closed[target] is not None]
    return tuple(sorted(covers)), tuple(sorted(openings, key=lambda each: (each[1].count("/"), each[1])))


def lend(directory: Path, uid: int, gid: int) -> None:
    """Let a region's user pass its directory, read what it starts with, and own what it writes. Raises OSError."""
    directory.chmod(0o711)
    for name in WRITTEN:
        (directory / name).mkdir(mode=0o700, exist_ok=True)
        handle = os.open(directory / name, DIRECTORY)
        os.fchown(handle, uid, gid)
        os.close(handle)
    for name in READ:
        for folder, _folders, files in os.walk(directory / name):
            for path in (folder, *(os.path.join(folder, file) for file in files)):
                os.chown(path, -1, gid, follow_symlinks=False)
                os.chmod(path, 0o750 if path == folder else 0o640)


def _python() -> Iterator[str]:
    """Yield where this interpreter and its packages are, by every link on the way to its executable."""
    program = sys.executable
    while os.path.islink(program):
        yield os.path.dirname(program)
        program = os.path.join(os.path.dirname(program), os.readlink(program))
    yield os.path.dirname(program)
    yield from (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, *sys.path)


def _passes(path: str) -> bool:
    return bool(os.stat(path).st_mode & stat.S_IXOTH)


def _first_closed(path: str, passes: Callable[[str], bool]) -> str | None:
    """Return the outermost directory on the way to a path that may not be passed."""
    return next((str(parent) for parent in reversed(PurePath(path).parents) if not passes(str(parent))), None)
