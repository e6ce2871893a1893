"""Where worlds live, and who owns a directory: one lock per world, held by its janitor and supervisor.

Always true: a world whose lock nobody holds is dead, and its directory may be removed.
"""

import contextlib
import fcntl
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

from leeward.world.guard import Guard
from leeward.world.problems import from_os_error, refusal
from leeward.world.removal import LOCK, remove

CONTROL = "control.sock"
SOCKET_PATH_MAX = 107
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
DISK_FREE_MIN = 512 << 20


def home() -> Path:
    """Return the directory of this user's worlds."""
    chosen = os.environ.get("LEEWARD_HOME")
    return Path(chosen).absolute() if chosen else Path(tempfile.gettempdir()) / f"leeward-{os.getuid()}"


def directory(name: str) -> Path:
    """Return where the world of that name lives, or would live. Raises ProblemsError for an unusable name."""
    where = f"world {name}"
    if not NAME.fullmatch(name):
        raise refusal(
            "world-name",
            where,
            f"{name!r} is no name for a world",
            "it becomes part of paths and host names",
            "use up to 32 of a-z, 0-9 and hyphens inside",
        )
    path = home() / name
    if len(os.fsencode(path / CONTROL)) > SOCKET_PATH_MAX:
        raise refusal(
            "path-too-long",
            where,
            f"the path {path} is too long",
            f"a unix socket there must not exceed {SOCKET_PATH_MAX} bytes",
            "set LEEWARD_HOME to a shorter directory",
        )
    return path


class Claim:
    """A world's directory that is ours: made, empty of other worlds, locked.

    Whoever inherits ``lock`` shares the claim; it ends with the last of them.
    """

    def __init__(self, name: str) -> None:
        """Take the directory of a world. Raises ProblemsError: it runs already, is not ours, no space."""
        self.name = name
        self.directory = directory(name)
        self._guard: Guard | None = None
        try:
            self.lock = self._take()
        except OSError as error:
            raise from_os_error(error, str(self.directory)) from error

    def release(self) -> None:
        """Let go of our share, when the world has its own."""
        os.close(self.lock)

    def guard(self) -> Guard:
        """Return the janitor of the directory, which removes it should this process die. Raises OSError."""
        if self._guard is None:
            self._guard = Guard(self.directory, self.lock)
        return self._guard

    def abandon(self) -> None:
        """Remove the directory and let go, when there will be no world."""
        if self._guard is not None:
            self._guard.abandon()
        else:
            remove(str(self.directory))
        self.release()

    def _take(self) -> int:
        while True:
            _make_home(self.directory.parent)
            _check_space(self.directory.parent)
            remove_if_dead(self.directory)
            with contextlib.suppress(OSError):
                self.directory.rmdir()  # all that a removal killed at its last step leaves
            try:
                self.directory.mkdir(mode=0o700)
                lock = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                raise self._exists() from None
            except FileNotFoundError:
                continue  # somebody who removes a dead world, or the home of the last one, was faster
            if _lock(lock) and _is_ours(lock, self.directory):
                return lock
            os.close(lock)

    def _exists(self) -> Exception:
        return refusal(
            "world-exists",
            str(self.directory),
            f"there is a world {self.name} already",
            "somebody started it and it has not been ended",
            f"end it (leeward down --world {self.name}) or choose another name (--world NAME)",
        )


def is_alive(path: Path) -> bool:
    """Tell whether a janitor or a supervisor (or a launch under way) holds the world."""
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _lock(lock)
    finally:
        os.close(lock)


def remove_if_dead(path: Path) -> bool:
    """Remove what a world left whose janitor and supervisor were both killed. Tells whether it did."""
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        if not (_lock(lock) and _is_ours(lock, path)):
            return False
        remove(str(path))
        return True
    finally:
        os.close(lock)


def is_gone(path: Path) -> bool:
    """Tell whether nothing is left of a world; removes what a dead one left."""
    remove_if_dead(path)
    return not os.path.lexists(path)


def remove_dead() -> tuple[str, ...]:
    """Remove what dead worlds left and return their names."""
    return tuple(path.name for path in _entries() if remove_if_dead(path))


def living() -> tuple[Path, ...]:
    """Return the directories of the worlds that somebody holds, by name."""
    return tuple(path for path in _entries() if is_alive(path))


def _entries() -> list[Path]:
    return sorted(home().iterdir()) if home().is_dir() else []


def _make_home(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise refusal(
            "home-not-ours",
            str(path),
            f"{path} belongs to somebody else",
            "keys and passwords are written there",
            "remove it, or set LEEWARD_HOME to a directory of your own",
        )


def _check_space(path: Path) -> None:
    free = shutil.disk_usage(path).free
    if free < DISK_FREE_MIN:
        raise refusal(
            "disk-full",
            str(path),
            f"only {free >> 20} MiB are free",
            f"three regions write up to {DISK_FREE_MIN >> 20} MiB",
            "free space there, or set LEEWARD_HOME to a directory on another disk",
        )


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_ours(descriptor: int, path: Path) -> bool:
    """Tell whether the locked file is still the one in place: somebody may have removed the directory."""
    try:
        found = (path / LOCK).stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), found)
