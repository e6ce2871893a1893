"""What the guard asks of the kernel: namespaces, the parent-death signal, a timer that kills.

Standard library only: ``init`` runs this before any package is importable.
"""

import ctypes
import os
import signal
import time

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SIGEV_SIGNAL = 0
_TIMER_ABSTIME = 1
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


def die_with_parent() -> None:
    """Let the kernel kill this process when the thread that made it ends. Forked children do not inherit it."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0))


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent dies, so that they can be reaped."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def enter_user_namespace(*, new_pids: bool) -> None:
    """Move into a user namespace that maps this user to itself (root to an ordinary user).

    With ``new_pids`` the next child is pid 1 of a pid namespace. The process must have one thread.
    Raises OSError where the kernel or its policy refuses.
    """
    user, group = os.geteuid(), os.getegid()
    _check(_libc.unshare(_CLONE_NEWUSER | (_CLONE_NEWPID if new_pids else 0)))
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user or ORDINARY_USER} {user} 1"),
        ("gid_map", f"{group or ORDINARY_USER} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def namespaces_work() -> bool:
    """Try a user and pid namespace in a child. Call it before any thread starts."""
    child = os.fork()
    if child == 0:
        try:
            enter_user_namespace(new_pids=True)
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
