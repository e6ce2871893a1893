"""Open what is ours on a machine with other users, and refuse what one of them made or could exchange.

Always true: a directory opened here belongs to us and no other user writes to it; every directory and symbolic link on
the way to it belongs to root or to us, and nobody else can exchange one of them. Each step is opened relative to the
one before, so nothing changes between the check and the use.
Not here: what is done with it. Standard library only: the janitor uses this.
"""

import errno
import grp
import os
import pwd
import socket
import stat
import struct
from contextlib import suppress
from pathlib import Path, PurePath

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINKS_MAX = 40
"""As many symbolic links as the kernel follows on one way."""
_CREDENTIALS = struct.Struct("3i")
"""What SO_PEERCRED answers: pid, uid, gid."""


class ForeignError(PermissionError):
    """Another user made it, or could exchange it. ``filename`` is what, ``strerror`` is why."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(errno.EPERM, why, path)


def open_directory(path: Path, *, create: bool = False) -> int:
    """Return a descriptor of a directory of ours; with ``create`` it and those on the way are made, mode 0700.

    Symbolic links of root's or our own are followed on the way, and none at its end.
    Raises ForeignError, and OSError: FileNotFoundError when it is not there.
    """
    at = os.open("/", _STEP)
    try:
        root = os.fstat(at)
        # The owner of the root directory controls everything below it.
        trusted = {0, os.geteuid(), root.st_uid}
        _check(root, "/", trusted)
        left, here, links = list(path.absolute().parts[1:]), PurePath("/"), 0
        while left:
            name = left.pop(0)
            here /= name
            if create:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=at)
            status = os.stat(name, dir_fd=at, follow_symlinks=False)
            _check(status, str(here), trusted)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if not left or links > _LINKS_MAX:
                    raise ForeignError(str(here), "it is a symbolic link")
                target = PurePath(os.readlink(name, dir_fd=at))
                if target.is_absolute():
                    left, here, at = [*target.parts[1:], *left], PurePath("/"), _step("/", at)
                else:
                    left, here = [*target.parts, *left], here.parent
                continue
            at = _step(name, at)
            _check(os.fstat(at), str(here), trusted)
        found = os.fstat(at)
        _check(found, str(path), {os.geteuid()})
        if others_write(found):
            raise ForeignError(str(path), f"other users may write there (mode {stat.S_IMODE(found.st_mode):04o})")
        return os.open(".", DIRECTORY, dir_fd=at)
    finally:
        os.close(at)


def open_within(directory: int, name: str, flags: int = DIRECTORY, mode: int = 0o600) -> int:
    """Return a descriptor of a directory or regular file of ours, in a directory of ours; no symbolic link.

    Raises ForeignError, and OSError: FileNotFoundError when it is not there.
    """
    try:
        found = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise ForeignError(name, "it is a symbolic link, or not a directory") from error
        raise
    status = os.fstat(found)
    wanted = stat.S_ISDIR if flags & os.O_DIRECTORY else stat.S_ISREG
    if not wanted(status.st_mode) or status.st_uid != os.geteuid() or others_write(status):
        os.close(found)
        raise ForeignError(name, f"it belongs to {user_name(status.st_uid)}, or others may write to it")
    return found


def pin(directory: Path, below: PurePath, *, like: str) -> Path:
    """Return a path that leads to what is below a directory of ours now, whatever others exchange on the way later.

    Others may own what is below; no symbolic link is followed there. It holds for the life of this process. A directory
    that is missing is made, with the owner and the mode of ``like``: a directory that the same others have there.
    Raises ForeignError, and OSError: NotADirectoryError for a symbolic link.
    """
    at = open_directory(directory)
    try:
        theirs = os.stat(like, dir_fd=at, follow_symlinks=False)
        for name in below.parts:
            deeper = _opened_or_made(at, name, theirs)
            os.close(at)
            at = deeper
    except OSError:
        os.close(at)
        raise
    return Path(f"/proc/self/fd/{at}")


def others_write(status: os.stat_result) -> bool:
    """Return whether users besides its owner and root may write there. The owner's private group does not count."""
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_private_group(status.st_gid)


def peer_uid(handle: int) -> int:
    """Return who was at the other end of a unix socket when it was connected, or listened. Raises OSError.

    Users that our user namespace does not know all have the kernel's overflow uid.
    """
    with socket.socket(fileno=os.dup(handle)) as ours:
        _pid, uid, _gid = _CREDENTIALS.unpack(ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(uid)


def user_name(uid: int) -> str:
    """Return a user's name and uid, for messages."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def _opened_or_made(at: int, name: str, like: os.stat_result) -> int:
    """Return a descriptor of a directory in another one. Raises OSError."""
    try:
        os.mkdir(name, 0o700, dir_fd=at)
    except FileExistsError:
        return os.open(name, DIRECTORY, dir_fd=at)
    made = os.open(name, DIRECTORY, dir_fd=at)
    try:
        # A user who may write to the parent can have put its own directory in this place: that one is left unchanged.
        if os.fstat(made).st_uid == os.geteuid():
            os.fchmod(made, stat.S_IMODE(like.st_mode))
            os.fchown(made, like.st_uid, like.st_gid)
    except OSError:
        os.close(made)
        raise
    return made


def _step(name: str, at: int) -> int:
    """Return the next directory's descriptor instead of this one's. Raises OSError and leaves this one open."""
    try:
        deeper = os.open(name, _STEP, dir_fd=at)
    except NotADirectoryError as error:
        raise ForeignError(name, "it is not a directory") from error
    os.close(at)
    return deeper


def _check(status: os.stat_result, path: str, trusted: set[int]) -> None:
    """Refuse what an untrusted user made, and a directory whose entries others may replace."""
    if status.st_uid not in trusted:
        raise ForeignError(path, f"it belongs to {user_name(status.st_uid)}")
    if stat.S_ISDIR(status.st_mode) and not status.st_mode & stat.S_ISVTX and others_write(status):
        raise ForeignError(path, f"other users may write there (mode {stat.S_IMODE(status.st_mode):04o})")


def _is_private_group(gid: int) -> bool:
    """Return whether a group is root's, or has our user as its only member, as many systems make one for each user."""
    if gid == 0:
        return True
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return user.pw_gid == gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
