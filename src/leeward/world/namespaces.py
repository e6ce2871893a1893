"""The kernel's namespaces: what this machine allows, and a network namespace for every region.

Always true: capabilities over the namespaces last until exec. A socket keeps the namespace it was made in, so only the
thread that makes it needs to be there.
Not here: the world's user namespace (users.py), and starting processes (spawn.py).
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from leeward.kit import kernel

T = TypeVar("T")

SIOCSIFFLAGS = 0x8914
IFF_UP_RUNNING = 0x1 | 0x40
PROBE_TIMEOUT_S = 30.0


class Isolation(StrEnum):
    """The isolation that this machine allows."""

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
    """Try it in a process of its own and return the result. Takes about a tenth of a second."""
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


def new_network() -> int:
    """Create a network with its loopback up. Returns a file descriptor that keeps it alive. Raises OSError."""

    def create() -> int:
        kernel.unshare(kernel.CLONE_NEWNET, "a network namespace")
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
    kernel.check(kernel.LIBC.setns(network, kernel.CLONE_NEWNET), "enter a network namespace")


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
