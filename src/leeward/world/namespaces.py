"""The kernel's namespaces: a user namespace for the world, and a network namespace for every region.

Always true: whoever enters is never root inside, so PostgreSQL agrees to run; capabilities over the
namespaces last until exec. A socket keeps the namespace it was made in, so only the thread that makes
it needs to be there.
Not here: starting processes (spawn.py).
"""

import ctypes
import fcntl
import os
import pwd
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")

CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
SIOCSIFFLAGS = 0x8914
IFF_UP_RUNNING = 0x1 | 0x40
NOBODY = 65534
PROBE_TIMEOUT_S = 30.0

_LIBC = ctypes.CDLL(None, use_errno=True)


class Isolation(StrEnum):
    """What this machine lets a world do."""

    USER_NAMESPACE = "user-namespace"
    """Everything is emulated; needs no privileges."""
    PRIVILEGED = "privileged"
    """No user namespaces, but root: everything is emulated; regions run as another user."""
    SHARED = "shared"
    """No namespaces at all: one network, one table of processes."""


NOT_EMULATED = (
    "delays between regions",
    "cut and slow links",
    "the kernel ending all processes of a region at once",
)


@dataclass(frozen=True, slots=True)
class IsolationProbe:
    """What a world would get here, and why."""

    isolation: Isolation
    because: str
    not_emulated: tuple[str, ...] = ()


def probe_isolation() -> IsolationProbe:
    """Try it in a process of its own and tell. Takes about a tenth of a second."""
    reasons: list[str] = []
    for isolation in (Isolation.USER_NAMESPACE, Isolation.PRIVILEGED):
        outcome = subprocess.run(
            [sys.executable, "-m", "leeward.world.spawn", isolation],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
        if outcome.returncode == 0:
            return IsolationProbe(isolation, "; ".join([*reasons, f"{isolation} works"]))
        refusal = (outcome.stderr.strip() or f"status {outcome.returncode}").splitlines()[-1]
        reasons.append(f"{isolation} is refused ({refusal})")
    return IsolationProbe(Isolation.SHARED, "; ".join(reasons), NOT_EMULATED)


def ordinary_user() -> tuple[int, int]:
    """Return the uid and gid root turns into: ``nobody``, or the first user that is not root."""
    users = pwd.getpwall()
    user = next((user for user in users if user.pw_name == "nobody"), None) or next(
        (user for user in users if user.pw_uid != 0), None
    )
    return (user.pw_uid, user.pw_gid) if user else (NOBODY, NOBODY)


def enter_user_namespace() -> None:
    """Move this process, which must have a single thread, to a user namespace of its own. Raises OSError.

    Root becomes an ordinary user, anybody else stays who they are. Files need no change of owner.
    """
    uid, gid = os.geteuid(), os.getegid()
    inner_uid, inner_gid = (uid, gid) if uid else ordinary_user()
    _check(_LIBC.unshare(CLONE_NEWUSER), "unshare a user namespace")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{inner_uid} {uid} 1")
    _write("/proc/self/gid_map", f"{inner_gid} {gid} 1")


def new_network() -> int:
    """Create a network with its loopback up. Returns a file descriptor that keeps it alive. Raises OSError."""

    def create() -> int:
        _check(_LIBC.unshare(CLONE_NEWNET), "unshare a network namespace")
        with socket.socket() as handle:
            fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP_RUNNING))
        return os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    return _in_thread(create)


def in_network(network: int | None, action: Callable[[], T]) -> T:
    """Run something that makes sockets inside a network; None is the network we are in. Raises OSError."""
    if network is None:
        return action()

    def move_and_act() -> T:
        move_to_network(network)
        return action()

    return _in_thread(move_and_act)


def move_to_network(network: int) -> None:
    """Move the calling thread. Raises OSError."""
    _check(_LIBC.setns(network, CLONE_NEWNET), "enter a network namespace")


def listener(host: str, port: int) -> socket.socket:
    """Return a non-blocking listening socket. Raises OSError."""
    handle = socket.socket()
    try:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        handle.bind((host, port))
        handle.listen(1024)
    except OSError:
        handle.close()
        raise
    handle.setblocking(False)
    return handle


def dialer() -> socket.socket:
    """Return a non-blocking socket to connect with."""
    handle = socket.socket()
    handle.setblocking(False)
    return handle


def die_with_parent() -> None:
    """Let the kernel end this process when the thread that started it ends. Cleared by a change of user."""
    _check(_LIBC.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "set the parent-death signal")


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own, to wait for them."""
    _check(_LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "become a subreaper")


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot {what}: {os.strerror(code)}")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _in_thread(action: Callable[[], T]) -> T:
    results: list[T] = []
    errors: list[OSError] = []

    def run() -> None:
        try:
            results.append(action())
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
