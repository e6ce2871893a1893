"""What the guard asks of the kernel: namespaces, the parent-death signal, a timer that kills, priority.

Standard library only: ``init`` runs this before any package is importable.
"""

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_MS_RDONLY = 1
_MS_NOSUID = 2
_MS_NODEV = 4
_MS_NOEXEC = 8
_MS_BIND = 4096
_SIGEV_SIGNAL = 0
_TIMER_ABSTIME = 1
_AHEAD_NICE = -10
ORDINARY_USER = 65534
"""Who root becomes inside its user namespace: PostgreSQL refuses uid 0."""

_libc = ctypes.CDLL(None, use_errno=True)


class _TimerSpec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class _SignalEvent(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("padding", ctypes.c_char * 48),
    )


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def boot_clock_s() -> float:
    """Return seconds of CLOCK_BOOTTIME, the clock of every lease."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_clock_s() -> float:
    """Return seconds of CLOCK_REALTIME, which hosts and NTP set."""
    return time.clock_gettime(time.CLOCK_REALTIME)


def run_ahead() -> bool:
    """Have the kernel prefer this process, and what it starts, to ordinary ones; False where it does not permit that.

    Call it before any thread starts, and before ``enter_user_namespace``, after which root may not any more.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _AHEAD_NICE)
    except PermissionError:
        return False
    return True


def run_as_usual() -> None:
    """Give up what ``run_ahead`` brought."""
    if os.getpriority(os.PRIO_PROCESS, 0) < 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0)


def die_with_parent() -> None:
    """Let the kernel kill this process when the thread that made it ends. Forked children do not inherit it."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0))


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent dies, so that they can be reaped."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def enter_user_namespace(*, new_pids: bool, new_mounts: bool = False) -> None:
    """Move into a user namespace that maps this user to itself (root to an ordinary user).

    With ``new_pids`` the next child is pid 1 of a pid namespace. With ``new_mounts`` only this process and its children
    see what is mounted from now on. The process must have one thread. Raises OSError where the kernel or its
    policy refuses.
    """
    user, group = os.geteuid(), os.getegid()
    _check(_libc.unshare(_CLONE_NEWUSER | (_CLONE_NEWPID if new_pids else 0) | (_CLONE_NEWNS if new_mounts else 0)))
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user or ORDINARY_USER} {user} 1"),
        ("gid_map", f"{group or ORDINARY_USER} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def hide(path: str) -> None:
    """Mount nothing over a directory, or a file. It takes a mount namespace of the process's own.

    Processes that are started from here cannot undo it: mounts that a user namespace has inherited are locked together
    (mount_namespaces(7)). Raises OSError.
    """
    if os.path.isdir(path):
        flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
        _check(_libc.mount(b"none", os.fsencode(path), b"tmpfs", flags, b"size=4k,mode=0"))
    else:
        _check(_libc.mount(b"/dev/null", os.fsencode(path), None, _MS_BIND, None))


def namespaces_work() -> bool:
    """Try a user and pid namespace in a child. Call it before any thread starts."""
    return _works(lambda: enter_user_namespace(new_pids=True))


def hiding_works(paths: Iterable[str]) -> bool:
    """Try in a child whether the kernel lets this user hide these. Call it before any thread starts."""

    def attempt() -> None:
        enter_user_namespace(new_pids=True, new_mounts=True)
        for path in paths:
            hide(path)

    return _works(attempt)


def _works(attempt: Callable[[], None]) -> bool:
    child = os.fork()
    if child == 0:
        try:
            attempt()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


class KillTimer:
    """A kernel timer that SIGKILLs this process at a time of the boot clock, even while it is stopped."""

    def __init__(self) -> None:
        self._timer = ctypes.c_void_p()
        event = _SignalEvent(None, int(signal.SIGKILL), _SIGEV_SIGNAL)
        _check(_libc.timer_create(time.CLOCK_BOOTTIME, ctypes.byref(event), ctypes.byref(self._timer)))

    def arm(self, at_s: float) -> None:
        """Fire at ``at_s``, at once when that is past; replaces what was armed before."""
        self._set(max(at_s, 1e-9))

    def disarm(self) -> None:
        """Do not fire."""
        self._set(0.0)

    def _set(self, at_s: float) -> None:
        seconds = int(at_s)
        spec = _TimerSpec(0, 0, seconds, int((at_s - seconds) * 1e9))
        _check(_libc.timer_settime(self._timer, _TIMER_ABSTIME, ctypes.byref(spec), None))
