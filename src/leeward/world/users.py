"""Which user the processes of a region run as: never root, and in a world of root one that owns nothing outside of it.

In a world of root the user namespace maps root to root, for the supervisor, and an id for each region that no other
process or file of the machine has. A region has a user namespace of its own below it, where that id is ``nobody``. In a
normal user's world there is one, which maps that user only.
"""

import os
import pwd
import zlib
from collections.abc import Collection

from leeward.kit import kernel

NOBODY = 65534
UNUSED_FIRST = 0x70000000
UNUSED_WORLDS = 0x10000
WORLD_IDS = 0x100
"""Ids above those for containers and below those that some file systems cannot keep; so many for each world."""

Ids = tuple[int, int]
"""A uid and a gid."""


def ordinary_user() -> Ids:
    """Return the ids of a region inside a world of root: ``nobody``, or the first user that is not root.

    PostgreSQL wants a user with a name.
    """
    users = pwd.getpwall()
    user = next((user for user in users if user.pw_name == "nobody"), None) or next(
        (user for user in users if user.pw_uid != 0), None
    )
    return (user.pw_uid, user.pw_gid) if user else (NOBODY, NOBODY)


def outside_ids(directory: str, regions: int) -> list[Ids] | None:
    """Return what each region of a world of root is outside of it, by the world's directory.

    None when we are not root, or when the user namespace we are in has no other id: then we are not really root. Where
    it has fewer than there are regions, some share one.
    """
    if os.geteuid() != 0:
        return None
    wanted = UNUSED_FIRST + zlib.crc32(os.fsencode(directory)) % UNUSED_WORLDS * WORLD_IDS
    uids, gids = (_known_ids(f"/proc/self/{kind}_map", wanted) for kind in ("uid", "gid"))
    if not uids or not gids:
        return None
    return [(uids[index % len(uids)], gids[index % len(gids)]) for index in range(regions)]


def enter_user_namespace(others: Collection[Ids] | None) -> None:
    """Move this process, which must have a single thread, to a user namespace of its own. Raises OSError.

    With ``others`` we stay root, and they are known inside by the ids that they have here. Without, nobody else is
    known inside, and root is called ``ordinary_user``.
    """
    uid, gid = os.geteuid(), os.getegid()
    if others is not None:
        _enter_as_root(*(f"{min(each)} {min(each)} {max(each) - min(each) + 1}" for each in zip(*others, strict=True)))
        return
    inner_uid, inner_gid = ordinary_user()
    kernel.unshare(kernel.CLONE_NEWUSER, "a user namespace")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid or inner_uid} {uid} 1")
    _write("/proc/self/gid_map", f"{gid if uid else inner_gid} {gid} 1")


def enter_as_ordinary_user(ids: Ids) -> None:
    """Move this process, which is root and has a single thread, to a user namespace where these are ``ordinary_user``.

    It ends as that user, with no rights over anything else. Raises OSError.
    """
    uid, gid = ordinary_user()
    _enter_as_root(f"{uid} {ids[0]} 1", f"{gid} {ids[1]} 1")
    become(uid, gid)


def become(uid: int, gid: int) -> None:
    """Turn from root into another user, for good."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _enter_as_root(uids: str, gids: str) -> None:
    """Move to a user namespace that knows root, and these others: a line of the map of uids, and one of gids."""
    ours = os.readlink("/proc/self")  # as that file system counts, which may be that of another pid namespace
    ready_read, ready_write = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        status = 0
        try:
            os.close(ready_write)
            if os.read(ready_read, 1):
                for name, others in (("uid_map", uids), ("gid_map", gids)):
                    _write(f"/proc/{ours}/{name}", f"0 0 1\n{others}\n")
        except OSError as error:
            status = error.errno or 1
        finally:
            os._exit(status)
    os.close(ready_read)
    try:
        # Only a process that stays outside may map others than itself.
        kernel.unshare(kernel.CLONE_NEWUSER, "a user namespace")
        os.write(ready_write, b"x")
    finally:
        os.close(ready_write)
        _pid, ended = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(ended)
    if code:
        raise OSError(code, f"cannot map another user into the namespace: {os.strerror(code)}")


def _known_ids(path: str, wanted: int) -> range:
    """Return ids other than root's that our user namespace knows: the wanted ones, else its largest range's last."""
    with open(path, encoding="ascii") as file:
        ranges = [(int(first), int(count)) for first, _outside, count in map(str.split, file)]
    if any(first <= wanted and wanted + WORLD_IDS <= first + count for first, count in ranges):
        return range(wanted, wanted + WORLD_IDS)
    first, count = max(ranges, key=lambda each: each[1])
    return range(max(first, first + count - WORLD_IDS, 1), first + count)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
