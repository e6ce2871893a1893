"""Where worlds live, and who owns a directory: one lock per world, held by its janitor and supervisor.

Always true: a world whose lock is not held is dead, and its directory may be removed. What another user made, or could
replace, is not treated as a world: it is neither contacted nor removed.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from pathlib import Path

from leeward.world.guard import Guard
from leeward.world.ownership import ForeignError, open_directory, open_within
from leeward.world.problems import from_os_error, refusal
from leeward.world.removal import LOCK, remove

CONTROL = "control.sock"
SOCKET_PATH_MAX = 107
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
DISK_FREE_MIN = 512 << 20
ROOT_HOME = Path("/var/lib/leeward")
HOME_PATH_MAX = 40
"""In bytes: pods make unix sockets some sixty bytes further down."""


def home() -> Path:
    """Return the directory of this user's worlds.

    ``LEEWARD_HOME``; otherwise where no other user can be first: root's in /var/lib, others' in ``XDG_STATE_HOME`` or
    ~/.local/state. Users without such a directory, or with too long a path to it, get one among the temporary files:
    another user may be first there, and is then refused. XDG_RUNTIME_DIR would not do: a world outlives the session,
    and writes more than memory should hold.
    """
    chosen = os.environ.get("LEEWARD_HOME")
    if chosen:
        return Path(chosen).absolute()
    if os.getuid() == 0:
        return ROOT_HOME
    return _state_home() or Path(tempfile.gettempdir()) / f"leeward-{os.getuid()}"


def directory(name: str) -> Path:
    """Return where the world of that name lives, or would live. Raises ProblemsError for an unusable name."""
    where = f"world {name}"
    if not NAME.fullmatch(name):
        raise refusal(
            "world-name",
            where,
            f"{name!r} is not a valid world name",
            "it becomes part of paths and host names",
            "use up to 32 of a-z, 0-9 and hyphens inside",
        )
    path = home() / name
    check_socket(path / CONTROL, where)
    return path


def check_socket(path: Path, where: str) -> None:
    """Refuse a unix socket that the kernel would not take, since its path is too long. Raises ProblemsError."""
    excess = len(os.fsencode(path)) - SOCKET_PATH_MAX
    if excess > 0:
        raise refusal(
            "path-too-long",
            where,
            f"the path {path} is {excess} bytes too long",
            f"it is a unix socket, whose path has at most {SOCKET_PATH_MAX} bytes",
            f"set LEEWARD_HOME to a directory with a path {excess} bytes shorter than {home()}",
        )


class Claim:
    """A world's directory that is ours: made, empty of other worlds, locked.

    Every process that inherits ``lock`` shares the claim; it ends with the last of them.
    """

    def __init__(self, name: str) -> None:
        """Take the directory of a world. Raises ProblemsError: it runs already, is not ours, no space."""
        self.name = name
        self.directory = directory(name)
        self._guard: Guard | None = None
        try:
            self.lock = self._take()
        except ForeignError as error:
            raise _not_ours(error) from error
        except OSError as error:
            raise from_os_error(error, str(self.directory)) from error

    def release(self) -> None:
        """Release our share, once the world has its own."""
        os.close(self.lock)

    def guard(self) -> Guard:
        """Return the janitor of the directory, which removes it should this process die. Raises OSError."""
        if self._guard is None:
            self._guard = Guard(self.directory, self.lock)
        return self._guard

    def abandon(self) -> None:
        """Remove the directory and release the claim, when no world will be started."""
        if self._guard is not None:
            self._guard.abandon()
        else:
            remove(str(self.directory))
        self.release()

    def _take(self) -> int:
        while True:
            home = open_directory(self.directory.parent, create=True)
            try:
                _check_space(self.directory.parent)
                remove_if_dead(self.directory)
                with contextlib.suppress(OSError):
                    os.rmdir(self.name, dir_fd=home)  # all that a removal killed at its last step leaves
                os.mkdir(self.name, mode=0o700, dir_fd=home)
                lock = _new_lock(home, self.name)
            except FileExistsError:
                raise self._exists() from None
            except FileNotFoundError:
                continue  # another process that removes a dead world, or the home of the last one, was faster
            finally:
                os.close(home)
            if _lock(lock) and _is_ours(lock, self.directory):
                return lock
            os.close(lock)

    def _exists(self) -> Exception:
        lock = _open_lock(self.directory)
        if lock is None:
            return refusal(
                "no-world-there",
                str(self.directory),
                f"{self.directory} exists and is not one of your worlds",
                "a world needs a directory of its own, created by this user and writable by no one else",
                "remove it, or choose another name (--world NAME)",
            )
        os.close(lock)
        return refusal(
            "world-exists",
            str(self.directory),
            f"world {self.name} already exists",
            "it was started and has not been ended",
            f"end it (leeward down --world {self.name}) or choose another name (--world NAME)",
        )


def is_alive(path: Path) -> bool:
    """Return whether a janitor or a supervisor (or a launch under way) holds the world.

    Raises ProblemsError when its home belongs to another user.
    """
    lock = _open_lock(path)
    if lock is None:
        return False
    try:
        return not _lock(lock)
    finally:
        os.close(lock)


def remove_if_dead(path: Path) -> bool:
    """Remove what a world left whose janitor and supervisor were both killed. Tells whether it did.

    Raises ProblemsError when its home belongs to another user.
    """
    lock = _open_lock(path)
    if lock is None:
        return False
    try:
        if not (_lock(lock) and _is_ours(lock, path)):
            return False
        remove(str(path))
        return True
    finally:
        os.close(lock)


def is_gone(path: Path) -> bool:
    """Return whether nothing is left of a world; removes what a dead one left."""
    remove_if_dead(path)
    return not os.path.lexists(path)


def remove_dead() -> tuple[str, ...]:
    """Remove what dead worlds left; return their names. Raises ProblemsError when the home belongs to another user."""
    return tuple(path.name for path in entries() if remove_if_dead(path))


def living() -> tuple[Path, ...]:
    """Return the directories of the worlds that are alive, by name. Raises ProblemsError as ``entries`` does."""
    return tuple(path for path in entries() if is_alive(path))


def entries() -> list[Path]:
    """Return everything in the home, by name. Raises ProblemsError when the home belongs to another user."""
    path = home()
    handle = _open_home(path)
    if handle is None:
        return []
    try:
        return [path / name for name in sorted(os.listdir(handle))]
    finally:
        os.close(handle)


def _state_home() -> Path | None:
    given = os.environ.get("XDG_STATE_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path(os.environ.get("HOME", "")) / ".local" / "state"
    path = base / "leeward"
    if not path.is_absolute() or len(os.fsencode(path)) > HOME_PATH_MAX:
        return None
    existing = next(parent for parent in (path, *path.parents) if os.path.exists(parent))
    return path if existing.stat().st_uid == os.getuid() else None


def _open_home(path: Path) -> int | None:
    """Return its descriptor; None when it is not there. Raises ProblemsError when it belongs to another user."""
    try:
        return open_directory(path)
    except FileNotFoundError:
        return None
    except ForeignError as error:
        raise _not_ours(error) from error
    except OSError as error:
        raise from_os_error(error, str(path)) from error


def _open_lock(path: Path) -> int | None:
    """Return the lock of a world, open; None when no world of ours exists there."""
    home = _open_home(path.parent)
    if home is None:
        return None
    try:
        world = open_within(home, path.name)
        try:
            return open_within(world, LOCK, os.O_RDWR)
        finally:
            os.close(world)
    except (FileNotFoundError, ForeignError):
        return None
    finally:
        os.close(home)


def _new_lock(home: int, name: str) -> int:
    world = open_within(home, name)
    try:
        return open_within(world, LOCK, os.O_RDWR | os.O_CREAT)
    finally:
        os.close(world)


def _not_ours(error: ForeignError) -> Exception:
    return refusal(
        "home-not-ours",
        str(error.filename),
        f"{error.filename} cannot be used for worlds: {error.strerror}",
        "keys and passwords are written there, and files of dead worlds are removed: no other user may replace any",
        "set LEEWARD_HOME to a directory of your own, below directories that only you and root can write to",
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
    """Return whether the locked file is still the one in place: the directory may have been removed."""
    try:
        found = (path / LOCK).lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), found)
